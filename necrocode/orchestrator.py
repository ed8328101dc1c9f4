"""The Python face: one call drives one task from its context to a pushed branch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from necrocode.config import RunnerConfig
from necrocode.states.task import TaskContext

if TYPE_CHECKING:
    from necrocode.engine.claim import Observer
    from necrocode.engine.runs import RunRecord


@dataclass(frozen=True, slots=True)
class RunnerResult:
    """What became of one run."""

    #: The task was completed: pushed, or committed where no push was wanted.
    success: bool
    run_id: str
    runner_id: str | None
    task_id: str
    #: The state it is in: ``completed``, ``failed``, ``cancelled``, or where it parked or was interrupted.
    state: str
    #: ``closed``, ``parked`` or ``interrupted``; the last two can be resumed by running the same task again.
    status: str
    stop_reason: str | None
    branch: str | None
    #: The commit, as 40 hex digits.
    commit: str | None
    #: Each with type, uri, size_bytes, sha256, created_at and metadata.
    artifacts: tuple[Mapping[str, Any], ...]
    error: str | None
    #: Of this call, not of the run.
    duration_seconds: float
    #: The exit code that the command line would have given.
    exit_code: int
    #: Where what there is of a failed or cancelled run's work was pushed to, if it was.
    partial_branch: str | None = None
    partial_commit: str | None = None


class RunnerOrchestrator:
    """Drives tasks in this process.

    ``config`` defaults to what environment and configuration files say. Several runs may be driven from several
    threads.
    """

    def __init__(self, config: RunnerConfig | None = None) -> None:
        from necrocode.config_sources import LoadedConfig, load_config

        if config is None:
            self._loaded = load_config()
        else:
            given = dict.fromkeys(config.model_fields_set, "argument")
            self._loaded = LoadedConfig(config, given)

    def run(
        self, task_context: TaskContext | Mapping[str, Any], *, observer: Observer | None = None, force: bool = False
    ) -> RunnerResult:
        """Begin the task's run, or go on with the one that has not ended, and take it as far as it goes.

        Raises :class:`~necrocode.errors.InvalidInput` for a task that is not valid,
        :class:`~necrocode.engine.errors.LeaseHeld` if another live process drives its run, and
        :class:`~necrocode.engine.errors.EnvironmentFault` if home or journal cannot be used. A run that parks is a
        result, not an exception.
        """
        from necrocode.runner import Runner

        task = _loaded(task_context)
        began = time.monotonic()
        with Runner(self._loaded) as runner:
            run = runner.drive(runner.begin(task).run_id, observer=observer, force=force)
            runner.deliver(run.run_id)
        return _result(run, task, time.monotonic() - began)


def _loaded(given: TaskContext | Mapping[str, Any]) -> TaskContext:
    from necrocode.task_file import task_from, with_playbook

    if isinstance(given, TaskContext):
        return with_playbook(given, folder=Path.cwd())
    return task_from(given, folder=Path.cwd()).task


def _result(run: RunRecord, task: TaskContext, seconds: float) -> RunnerResult:
    from necrocode.exits import exit_code

    data = run.data
    return RunnerResult(
        success=run.status == "closed" and run.state == "completed",
        run_id=run.run_id,
        runner_id=data.get("runner_id"),
        task_id=task.task_id,
        state=run.state,
        status=run.status,
        stop_reason=run.stop_reason,
        branch=data.get("branch"),
        commit=data.get("commit"),
        artifacts=tuple(data.get("artifacts", ())),
        error=data.get("error") if run.stop_reason else None,
        duration_seconds=seconds,
        exit_code=exit_code(run),
        partial_branch=data.get("partial_branch"),
        partial_commit=data.get("partial_commit"),
    )
