"""necrocode: a coding-agent runner that you can kill.

The public names are imported when they are first used, so that ``import necrocode`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from necrocode.artifacts.rest import ArtifactStoreClient
    from necrocode.config import LLMConfig, RunnerConfig
    from necrocode.llm.openai_client import OpenAIChat as LLMClient
    from necrocode.orchestrator import RunnerOrchestrator, RunnerResult
    from necrocode.pool.rest import RepoPoolClient
    from necrocode.registry.rest import TaskRegistryClient
    from necrocode.states.ports import SlotAllocation
    from necrocode.states.task import TaskContext

__all__ = [
    "ArtifactStoreClient",
    "LLMClient",
    "LLMConfig",
    "RepoPoolClient",
    "RunnerConfig",
    "RunnerOrchestrator",
    "RunnerResult",
    "SlotAllocation",
    "TaskContext",
    "TaskRegistryClient",
]

_HOMES = {
    "ArtifactStoreClient": ("necrocode.artifacts.rest", "ArtifactStoreClient"),
    "LLMClient": ("necrocode.llm.openai_client", "OpenAIChat"),
    "LLMConfig": ("necrocode.config", "LLMConfig"),
    "RepoPoolClient": ("necrocode.pool.rest", "RepoPoolClient"),
    "RunnerConfig": ("necrocode.config", "RunnerConfig"),
    "RunnerOrchestrator": ("necrocode.orchestrator", "RunnerOrchestrator"),
    "RunnerResult": ("necrocode.orchestrator", "RunnerResult"),
    "SlotAllocation": ("necrocode.states.ports", "SlotAllocation"),
    "TaskContext": ("necrocode.states.task", "TaskContext"),
    "TaskRegistryClient": ("necrocode.registry.rest", "TaskRegistryClient"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'necrocode' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
