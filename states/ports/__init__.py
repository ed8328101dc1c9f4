"""What the handlers need from the world: Protocols whose docstrings state each contract as conditions.

Errors cross a port in the engine's terms only: :class:`TaskError` (the task's own fault), :class:`Transient` (worth
another attempt), :class:`EnvironmentFault` (park; :data:`DISK_TROUBLE`: this machine's own disk). Any other exception
is a bug of the adapter. Adapters never retry by themselves: retry policies stand beside the effects that call them, and
every attempt is journaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from necrocode.states.ports.coder import Coder, CoderReport, CoderWork, TestResult
from necrocode.states.ports.commands import CommandResult, CommandRunner, CommandSpec
from necrocode.states.ports.credentials import Credentials, RunLog
from necrocode.states.ports.model import LLM, ChatAnswer, ChatRequest, ToolCall
from necrocode.states.ports.pool import RepoPool, SlotAllocation
from necrocode.states.ports.services import Artifact, ArtifactStore, TaskRegistry
from necrocode.states.ports.testing import JUnitFiles, Playbooks, TakenReport
from necrocode.states.ports.workspace import (
    ChangedFile,
    CommitRequest,
    PushRequest,
    Rebased,
    RemoteRefs,
    Workspace,
    Workspaces,
)

__all__ = [
    "DISK_TROUBLE",
    "LLM",
    "Artifact",
    "ArtifactStore",
    "ChangedFile",
    "ChatAnswer",
    "ChatRequest",
    "Coder",
    "CoderReport",
    "CoderWork",
    "CommandResult",
    "CommandRunner",
    "CommandSpec",
    "CommitRequest",
    "Credentials",
    "JUnitFiles",
    "Playbooks",
    "Ports",
    "PushRequest",
    "Rebased",
    "RemoteRefs",
    "RepoPool",
    "RunLog",
    "SlotAllocation",
    "TakenReport",
    "TaskRegistry",
    "TestResult",
    "ToolCall",
    "Workspace",
    "Workspaces",
]

DISK_TROUBLE = ("disk_full", "disk_read_only", "disk_error")
"""The ``stop_reason`` of a disk of this machine that has no room, takes no writes, or fails: a person's to mend."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the handlers reach the world through."""

    registry: TaskRegistry
    pool: RepoPool
    #: Lends the task's own ``slot_path``.
    folders: RepoPool
    workspaces: Workspaces
    commands: CommandRunner
    coder: Coder
    artifacts: ArtifactStore
    credentials: Credentials
    log: RunLog
    #: Registries that a run may report to instead, if the registry certainly cannot be reached as the run begins: by
    #: the name of their sink in the outbox, the one to be taken first.
    fallbacks: Mapping[str, TaskRegistry] = field(default_factory=dict)
    #: Keeps what the artifact store, a service elsewhere, does not take now; ``None`` if the store is on this machine.
    artifacts_here: ArtifactStore | None = None
    #: ``None``: nobody asks after single tests.
    reports: JUnitFiles | None = None
    #: ``None``: no playbook is read from a repository, and none detected.
    playbooks: Playbooks | None = None
