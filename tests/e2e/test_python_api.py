"""The Python face: its names, its older import paths, and one call that drives a run."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import fields

import pytest

import necrocode
from necrocode import LLMConfig, RunnerConfig, RunnerOrchestrator, RunnerResult, TaskContext
from necrocode.engine.errors import LeaseHeld
from necrocode.errors import InvalidInput
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, GATE, KEY, SOLVE, Stage

PUBLIC = {
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
}
"""Additions only."""

RESULT = {
    "success",
    "run_id",
    "runner_id",
    "task_id",
    "state",
    "status",
    "stop_reason",
    "branch",
    "commit",
    "artifacts",
    "error",
    "duration_seconds",
    "exit_code",
}


@pytest.fixture(autouse=True)
def _own_environment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLM_API_KEY", "GIT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(stage.root / "user"))
    monkeypatch.chdir(stage.root)


def config_of(stage: Stage, url: str, key: str = KEY) -> RunnerConfig:
    """A configuration for the stage."""
    return RunnerConfig(home=stage.home, llm_endpoint=url, llm_api_key=key, retry_initial_seconds=0.05)  # type: ignore[arg-type]


def task_of(stage: Stage, **more: object) -> TaskContext:
    """The stage's task."""
    given = {
        "task_id": "1",
        "spec_name": "greeting",
        "title": "Greet by name",
        "description": "greet() should say hello to the one it is given.",
        "repo_url": str(stage.remote),
        "test_commands": ["sh check.sh"],
    }
    return TaskContext.model_validate({**given, **more})


def test_the_public_names_are_these_and_each_can_be_imported() -> None:
    assert set(necrocode.__all__) == PUBLIC
    for name in PUBLIC:
        assert isinstance(getattr(necrocode, name), type), name
    assert set(dir(necrocode)) >= PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        necrocode.Nonsense  # noqa: B018
    assert {field.name for field in fields(RunnerResult)} >= RESULT


def test_the_older_import_paths_give_the_same_classes() -> None:
    older = {
        "runner_orchestrator": ["RunnerOrchestrator"],
        "config": ["RunnerConfig", "LLMConfig"],
        "models": ["TaskContext", "RunnerResult", "SlotAllocation"],
    }
    for module, names in older.items():
        found = importlib.import_module(f"necrocode.agent_runner.{module}")
        for name in names:
            assert getattr(found, name) is getattr(necrocode, name)


def test_the_models_settings_are_an_object_of_their_own() -> None:
    config = LLMConfig(api_key="x" * 20, model="m", endpoint="http://127.0.0.1:1/v1", timeout_seconds=5, max_tokens=9)  # type: ignore[arg-type]
    assert (config.model, config.timeout_seconds, config.max_tokens) == ("m", 5, 9)
    assert "x" * 20 not in repr(config)


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, necrocode\n"
        "heavy = {'sqlalchemy', 'alembic', 'openai', 'pygit2', 'pydantic', 'rich', 'httpx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_call_drives_a_run_to_its_pushed_branch(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    result = RunnerOrchestrator(config_of(stage, model.url)).run(task_of(stage))
    assert result.success
    assert (result.state, result.status, result.stop_reason, result.error) == ("completed", "closed", None, None)
    assert (result.task_id, result.branch, result.commit) == ("1", BRANCH, stage.branches()[BRANCH])
    assert result.run_id == stage.only_run.run_id
    assert result.runner_id and result.duration_seconds > 0 and result.exit_code == 0
    assert {artifact["type"] for artifact in result.artifacts} == {"diff", "log", "test"}


def test_a_run_that_parks_is_a_result_and_goes_on_at_the_next_call(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    parked = RunnerOrchestrator(config_of(stage, model.url, "a-wrong-key-this-is")).run(task_of(stage).model_dump())
    assert not parked.success
    assert (parked.status, parked.stop_reason, parked.exit_code) == ("parked", "llm_auth", 3)
    assert "401" in str(parked.error)
    done = RunnerOrchestrator(config_of(stage, model.url)).run(task_of(stage))
    assert done.success
    assert done.run_id == parked.run_id


def test_an_invalid_task_and_a_run_driven_elsewhere_are_raised(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    orchestrator = RunnerOrchestrator(config_of(stage, model.url))
    with pytest.raises(InvalidInput, match="title: is required"):
        orchestrator.run({"task_id": "1"})
    assert not stage.home.exists()
    process = stage.start_gated("run", stage.task(test_commands=[GATE]))
    with pytest.raises(LeaseHeld, match=str(process.pid)):
        orchestrator.run(task_of(stage))
    stage.open_gate()
    assert stage.finish(process).code == 0


def test_without_a_configuration_environment_and_files_are_read(
    stage: Stage, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(*SOLVE)
    for name, value in stage.env().items():
        if name.startswith(("NECROCODE_", "LLM_")):
            monkeypatch.setenv(name, value)
    (stage.root / "necrocode.toml").write_text("push = false\n", encoding="utf-8")
    result = RunnerOrchestrator().run(task_of(stage))
    assert result.success
    assert set(stage.branches()) == {"main"}
