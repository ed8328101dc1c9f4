"""The coder: implements the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from necrocode.states.ports.workspace import Workspace

if TYPE_CHECKING:
    from necrocode.engine.context import Context
    from necrocode.states.task import TaskContext


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one test command ended."""

    __test__ = False

    command: str
    passed: bool
    status: str
    exit_code: int | None
    output: str
    duration_seconds: float
    #: What it said of each test, as :meth:`necrocode.states.junit.Report.as_json` gives it, if it did.
    report: Mapping[str, Any] | None = None
    #: Names of failing tests that failed before the change, too; ``None`` if nobody knows.
    failed_before: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class CoderWork:
    """What a coder is asked to do in one visit of ``implementing``."""

    task: TaskContext
    slot_path: Path
    workspace: Workspace
    #: Tree of the recorded base.
    base_tree: str
    #: 1 for the first attempt.
    attempt: int
    #: Failed tests of the attempt before this one.
    feedback: tuple[TestResult, ...] = ()
    #: Files with conflict markers from moving an earlier branch onto the base.
    conflicts: tuple[str, ...] = ()
    #: What the work will be tested by; ``None``: the task's own commands.
    test_commands: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class CoderReport:
    """What the coder left behind."""

    summary: str
    #: The snapshot that the coder calls finished.
    tree: str


class Coder(Protocol):
    """Implements a task in a slot."""

    def implement(self, ctx: Context, work: CoderWork) -> CoderReport:
        """Work until the coder calls it finished.

        Everything it does outside goes through ``ctx.effect`` / ``ctx.observe``, so that a replay repeats nothing.
        :class:`TaskError`: ``stuck`` (trigger ``error``), ``budget`` (trigger ``budget``).
        """
