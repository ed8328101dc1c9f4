"""What the simulated runs are about, and how each must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from necrocode.states.partial import PREFIX
from necrocode.states.task import TaskContext
from tests.crash.simulation.ports import Answers

BRANCH = "feature/task-sim-1"
PARTIAL = PREFIX + BRANCH

REPOSITORY: Mapping[str, bytes] = {"greet.py": b"print('hullo')\n", "notes.txt": b"", "built.txt": b""}

SETTINGS: Mapping[str, Any] = {
    "max_implementation_attempts": 3,
    "push": True,
    "push_partial_work": False,
    "on_branch_exists": "fail",
    "git_retry_count": 3,
    "network_retry_count": 3,
    "retry_initial_seconds": 0,
    "slot_timeout_seconds": 0,
    "command_timeout_seconds": 60,
    "max_output_bytes": 65536,
    "network": False,
    "committer_name": "necrocode",
    "committer_email": "necrocode@example.invalid",
}

_LOOK = [("read_file", {"path": "greet.py"})]
_FIX = [("edit_file", {"path": "greet.py", "old_text": "hullo", "new_text": "hello"})]
_FINISH = [("finish", {"summary": "greets"})]


def _bash(*lines: str) -> list[tuple[str, Mapping[str, Any]]]:
    return [("bash", {"command": line}) for line in lines]


def _write(text: str) -> list[tuple[str, Mapping[str, Any]]]:
    return [("write_file", {"path": "greet.py", "content": text})]


def _note(line: str) -> str:
    return f"append notes.txt {line} && append notes.txt {line}-end"


@dataclass(frozen=True)
class Scenario:
    """One task with its model and its world."""

    name: str
    answers: Answers = (_LOOK, _bash(_note("once")), _FIX, _FINISH)
    #: State and stop reason that it must end with.
    ends: tuple[str, str | None] = ("completed", None)
    task: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_turns: int = 100
    #: Calls that fail at first, and how often.
    faults: Mapping[str, int] = field(default_factory=dict)
    #: Services that are down until the run has ended or parked.
    down: frozenset[str] = frozenset()
    #: Place in the conversation at which services come back.
    back_at: int | None = None
    #: Whether every slot is lent until the run has parked.
    occupied: bool = False
    #: Whether the pool takes the slot away at the first death.
    stolen: bool = False
    #: Place in the conversation at which somebody asks for a cancel.
    cancel_at: int | None = None
    #: Whether a cancel is asked for at the first death, or while the first process is paused.
    cancel_dead: bool = False
    #: Place in the conversation at which the deadline comes.
    deadline_at: int | None = None
    #: Whether the branch is somebody else's.
    taken: bool = False
    #: Whose the branch for partial work is already: somebody else's, or an earlier run's of this task.
    partial_before: Literal["theirs", "ours"] | None = None
    #: Why it may park (``poison`` aside).
    parks: frozenset[str] = frozenset()
    #: The repository's files that the commit must have, if nothing was lost.
    files: Mapping[str, str] = field(default_factory=lambda: {"greet.py": "print('hello')\n"})
    #: Lines that commands write, each once, to ``notes.txt``.
    lines: tuple[str, ...] = ("once",)

    def begin(self) -> dict[str, Any]:
        """What the run is created with."""
        given = {"task_id": "1", "spec_name": "sim", "title": "Greet", "description": "say hello"}
        task = TaskContext.model_validate({**given, "repo_url": "sim://repo", **self.task})
        return {
            "subject": task.subject,
            "data": {"task": task.model_dump(mode="json")},
            "settings": {**SETTINGS, **self.settings},
        }

    @property
    def stops(self) -> bool:
        """Whether somebody ends it from outside, so that it may end at any point before the push."""
        return self.cancel_dead or self.cancel_at is not None or self.deadline_at is not None


_TEST = "check greet.py hello"
DEADLINE = timedelta(milliseconds=60)

SUCCESS = Scenario("success", task={"test_commands": [_TEST]})
RETRIED = Scenario(
    "tests fail twice, then pass",
    (_write("one"), _FINISH, _write("two"), _FINISH, _write("print('hello')\n"), _FINISH),
    task={"test_commands": [_TEST + " && append junk.txt lying-about"]},
    lines=(),
)
FAILED = Scenario(
    "tests fail for good",
    (_write("one"), _FINISH, _write("two"), _FINISH, _write("three"), _FINISH),
    ends=("failed", "tests_failed"),
    task={"test_commands": [_TEST]},
)
PARALLEL = Scenario(
    "several calls in one answer",
    ([*_bash(_note("first")), *_LOOK, *_bash(_note("second"))], _FIX, _FINISH),
    lines=("first", "second"),
)
SET_UP = Scenario(
    "set-up commands",
    (_FIX, _FINISH),
    task={
        "setup_commands": ["append built.txt a && append built.txt b", "append made.txt x"],
        "test_commands": [_TEST],
    },
    lines=(),
)
PLAYBOOK = Scenario(
    "a playbook with conditions, a flaky step and one that may fail",
    (_write("one"), _FINISH, _write("print('hello')\n"), _FINISH),
    task={
        "playbook": {
            "steps": [
                {"name": "absent", "run": "check greet.py never", "when": "exists('no.py') or attempt == 0"},
                {"name": "flaky", "run": "check tries.txt again && append tries.txt again", "retries": 3},
                {"name": "loose", "run": "check greet.py never", "allow_failure": True, "when": "steps.flaky.passed"},
                {"name": "tests", "run": _TEST, "when": "changed('*.py')", "junit": "reports/*.xml"},
            ]
        }
    },
    settings={"test_reports": True},
    lines=(),
)
FORGIVEN = Scenario(
    "a test fails that failed before the change",
    (_FIX, _FINISH),
    task={"setup_commands": ["append made.txt x"], "test_commands": [f"{_TEST} && check notes.txt never"]},
    settings={"baseline_tests": "forgive", "test_reports": True, "test_reruns": 1},
    lines=(),
)
CANCELLED = Scenario("cancelled at work", ends=("cancelled", "cancelled"), cancel_at=2)
CANCELLED_DEAD = Scenario("cancelled while dead", ends=("cancelled", "cancelled"), cancel_dead=True)
LATE = Scenario("the deadline comes", ends=("failed", "deadline"), deadline_at=2)
SPENT = Scenario("the budget is spent", ends=("failed", "budget"), max_turns=2)
UNPUSHED = Scenario("no push", settings={"push": False})
TAKEN = Scenario("the branch exists", ends=("failed", "branch_exists"), taken=True)
SUFFIXED = Scenario("the branch exists, and gets a number", taken=True, settings={"on_branch_exists": "suffix"})
UNCHANGED = Scenario("nothing changes", (_LOOK, _FINISH), ends=("failed", "no_change"), lines=())
FLAKY = Scenario(
    "everything fails now and then",
    faults={
        "llm.complete": 2,
        "git.fetch": 1,
        "git.push": 1,
        "registry.status": 1,
        "registry.event": 2,
        "artifacts.upload": 1,
    },
)
DEAF = Scenario("the registry is down", down=frozenset({"registry"}))
BACK = Scenario("the registry comes back half-way", down=frozenset({"registry"}), back_at=2)
KEPT = Scenario("the slot cannot be returned", down=frozenset({"pool.release"}))
STOLEN = Scenario(
    "the loan is lost",
    stolen=True,
    task={"setup_commands": ["append made.txt x"]},
)
CROWDED = Scenario("every slot is lent", occupied=True, parks=frozenset({"no_slot"}))
MUTE = Scenario("the model is down", down=frozenset({"llm"}), parks=frozenset({"service_unavailable"}))

_PARTIAL: Mapping[str, Any] = {"push_partial_work": True}
FAILED_PARTIAL = replace(FAILED, name="failed, with partial work pushed", settings=_PARTIAL)
CANCELLED_PARTIAL = replace(CANCELLED, name="cancelled, with partial work pushed", settings=_PARTIAL)
CANCELLED_DEAD_PARTIAL = replace(
    CANCELLED_DEAD, name="cancelled while dead, with partial work pushed", settings=_PARTIAL
)
LATE_PARTIAL = replace(
    LATE, name="the deadline comes, with partial work pushed again", settings=_PARTIAL, partial_before="ours"
)
FLAKY_PARTIAL = replace(
    FAILED,
    name="failed, with partial work pushed beside somebody else's at last",
    settings=_PARTIAL,
    partial_before="theirs",
    faults={"git.push": 2},
)
UNCHANGED_PARTIAL = replace(UNCHANGED, name="nothing changes, and no partial work is pushed", settings=_PARTIAL)

SCENARIOS: tuple[Scenario, ...] = (
    SUCCESS,
    RETRIED,
    FAILED,
    PARALLEL,
    SET_UP,
    PLAYBOOK,
    FORGIVEN,
    CANCELLED,
    CANCELLED_DEAD,
    LATE,
    SPENT,
    UNPUSHED,
    TAKEN,
    SUFFIXED,
    UNCHANGED,
    FLAKY,
    DEAF,
    BACK,
    KEPT,
    STOLEN,
    CROWDED,
    MUTE,
    FAILED_PARTIAL,
    CANCELLED_PARTIAL,
    CANCELLED_DEAD_PARTIAL,
    LATE_PARTIAL,
    FLAKY_PARTIAL,
    UNCHANGED_PARTIAL,
)
