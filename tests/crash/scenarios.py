"""What the killed runs are about: tasks, the model's answers, and how each must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.stage import CONTENTS, EDIT, FINISH, calls

#: Each start of a command that calls it adds the command's id to a ledger, and the output tells how often that one is
#: in it. The ledger is a file that git ignores; outside of the slot, if ``LEDGER`` names one.
MARK = """\
ledger="${LEDGER:-effects.log}"
echo "$NECROCODE_COMMAND_ID" >> "$ledger"
echo "ran $(grep -c -x -F -e "$NECROCODE_COMMAND_ID" "$ledger") time(s)"
"""

#: In a command line that a test wants to find among the processes.
NAP = "nap=1"

REPOSITORY: Mapping[str, str] = {**CONTENTS, "mark.sh": MARK, "notes.txt": "", "built.txt": ""}
TEST = "sh mark.sh && sh check.sh"


def _tell(text: str, *made: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    return calls(*made, text=text)


def _bash(command: str) -> tuple[str, Mapping[str, Any]]:
    return "bash", {"command": command}


def _wrong(number: int) -> dict[str, Any]:
    return calls(("write_file", {"path": "greet.py", "content": f"def greet(name):\n    return 'hullo {number}'\n"}))


_RIGHT = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return f'hello, {name}'\n"}))
_LOOK = calls(("read_file", {"path": "greet.py"}), text="Let me look.")
_GREETS = "def greet(name):\n    return f'hello, {name}'\n"


def _nap(seconds: float, line: str = "once") -> tuple[str, Mapping[str, Any]]:
    return _bash(f"sh mark.sh; echo {line} >> notes.txt; {NAP}; sleep {seconds}; echo done {line}")


@dataclass(frozen=True)
class Scenario:
    """A task, the model that works on it, and what must come of it."""

    name: str
    answers: tuple[Mapping[str, Any], ...]
    #: The state that the run must end in.
    ends: str = "completed"
    stop_reason: str | None = None
    task: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    #: Files of the pushed commit that must read just so.
    files: Mapping[str, str] = field(default_factory=lambda: {"greet.py": _GREETS})
    #: For each line that a command adds to a file of the commit: file and line. It stands there once, or not at all if
    #: the command was told to have been interrupted.
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Branches that the remote has before, each with a commit of somebody else.
    taken: tuple[str, ...] = ()
    #: The run is cancelled after the kill.
    cancelled: bool = False
    #: The task names a folder of the user's instead of a repository.
    own_folder: bool = False
    #: The task has a branch on the remote already, from an earlier run, and the default branch has moved on.
    continued: bool = False
    #: Registry, pool and artifact store are another process, spoken to over REST.
    served: bool = False

    @property
    def pushes_partial(self) -> bool:
        """Whether what a failed or cancelled run did is to be pushed to a branch of its own."""
        return "--push-partial-work" in self.flags

    @property
    def pushes(self) -> bool:
        """Whether a branch is to be written."""
        return self.ends == "completed" and "--no-push" not in self.flags


SUCCESS = Scenario("success", (_LOOK, EDIT, FINISH))
RETRIED = Scenario(
    "tests fail twice, then pass",
    (_wrong(1), FINISH, _wrong(2), FINISH, _RIGHT, FINISH),
    task={"test_commands": [TEST]},
)
FAILED = Scenario(
    "tests fail for good",
    (_wrong(1), FINISH, _wrong(2), FINISH, _wrong(3), FINISH),
    ends="failed",
    stop_reason="tests_failed",
    task={"test_commands": [TEST]},
)
SLEEPY = Scenario(
    "a command with a side effect and a sleep",
    (_tell("First a nap.", _nap(1.2)), EDIT, FINISH),
    lines={"notes.txt": ("once",)},
)
PARALLEL = Scenario(
    "several calls in one answer",
    (
        _tell("All at once.", _nap(0.4, "first"), ("read_file", {"path": "notes.txt"}), _nap(0.4, "second")),
        calls(
            *(
                EDIT_CALL
                for EDIT_CALL in [
                    ("edit_file", {"path": "greet.py", "old_text": "'hello'", "new_text": "f'hello, {name}'"})
                ]
            ),
            _nap(0.2, "third"),
        ),
        FINISH,
    ),
    lines={"notes.txt": ("first", "second", "third")},
)
SET_UP = Scenario(
    "set-up commands",
    (EDIT, FINISH),
    task={
        "setup_commands": [
            "sh mark.sh && echo built >> built.txt && sleep 0.3",
            "sh mark.sh && mkdir -p made && echo x > made/x.log",
        ],
        "test_commands": [f"{TEST} && test -f made/x.log && test $(wc -l < built.txt) -eq 1"],
    },
    files={"greet.py": _GREETS, "built.txt": ""},
)
PLAYBOOK = Scenario(
    "a playbook with conditions and a flaky step, tests that failed before the change",
    (_wrong(1), FINISH, _RIGHT, FINISH),
    task={
        "test_commands": None,
        "playbook": {
            "steps": [
                {"name": "absent", "run": "false", "when": "exists('no.py')"},
                {
                    "name": "flaky",
                    "run": "sh mark.sh; test -e once.log || { sleep 0.2; touch once.log; false; }",
                    "retries": 3,
                },
                {"name": "tests", "run": TEST, "when": "steps.flaky.passed and (attempt == 0 or changed('*.py'))"},
            ]
        },
    },
    env={"NECROCODE_BASELINE_TESTS": "report"},
)
TAKEN = Scenario(
    "the branch exists",
    (EDIT, FINISH),
    ends="failed",
    stop_reason="branch_exists",
    taken=("feature/task-greeting-1",),
)
SUFFIXED = Scenario(
    "the branch exists, and gets a number",
    (EDIT, FINISH),
    env={"NECROCODE_ON_BRANCH_EXISTS": "suffix"},
    taken=("feature/task-greeting-1",),
)
CANCELLED = Scenario(
    "cancelled after the kill",
    (_tell("First a nap.", _nap(0.6)), EDIT, FINISH),
    ends="cancelled",
    stop_reason="cancelled",
    lines={"notes.txt": ("once",)},
    cancelled=True,
)
PARTIAL = Scenario(
    "tests fail for good, partial work is pushed",
    (_wrong(1), FINISH, _wrong(2), FINISH),
    ends="failed",
    stop_reason="tests_failed",
    task={"test_commands": [TEST]},
    flags=("--push-partial-work",),
    env={"NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS": "2"},
    files={"greet.py": "def greet(name):\n    return 'hullo 2'\n"},
)
CANCELLED_PARTIAL = Scenario(
    "cancelled after the kill, partial work is pushed beside somebody else's",
    (EDIT, _tell("Then a nap.", _nap(0.6)), FINISH),
    ends="cancelled",
    stop_reason="cancelled",
    flags=("--push-partial-work",),
    taken=("wip/feature/task-greeting-1",),
    lines={"notes.txt": ("once",)},
    cancelled=True,
)
UNPUSHED = Scenario("no push", (EDIT, FINISH), flags=("--no-push",))
FLAKY = Scenario(
    "a model that fails now and then",
    (
        {**_LOOK, "faults": [{"status": 500, "body": {"error": {"message": "oops"}}}, {"cut": True}]},
        {**EDIT, "faults": [{"status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"message": "slow"}}}]},
        {**FINISH, "delay_seconds": 0.3},
    ),
)
SLOW = Scenario(
    "a model that thinks",
    ({**_LOOK, "delay_seconds": 0.3}, {**EDIT, "delay_seconds": 0.3}, {**FINISH, "delay_seconds": 0.3}),
)
OWN_FOLDER = Scenario(
    "a folder of the user's",
    (_tell("First a nap.", _nap(0.4)), EDIT, FINISH),
    lines={"notes.txt": ("once",)},
    own_folder=True,
)
CONTINUED = Scenario(
    "an earlier branch of ours, the base moved on",
    (_tell("First a nap.", _nap(0.4)), EDIT, FINISH),
    lines={"notes.txt": ("once",)},
    files={"greet.py": _GREETS, "earlier.txt": "from an earlier run\n", "moved.txt": "the base moved on\n"},
    continued=True,
)

SERVED = Scenario(
    "every service is another process",
    (_tell("First a nap.", _nap(0.4)), EDIT, FINISH),
    task={"test_commands": [TEST]},
    lines={"notes.txt": ("once",)},
    served=True,
)
SERVED_CANCELLED = Scenario(
    "every service is another process, and the run is cancelled after the kill",
    (_tell("First a nap.", _nap(0.4)), EDIT, FINISH),
    ends="cancelled",
    stop_reason="cancelled",
    lines={"notes.txt": ("once",)},
    cancelled=True,
    served=True,
)

SCENARIOS: tuple[Scenario, ...] = (
    SUCCESS,
    RETRIED,
    FAILED,
    SLEEPY,
    PARALLEL,
    SET_UP,
    PLAYBOOK,
    TAKEN,
    SUFFIXED,
    CANCELLED,
    PARTIAL,
    CANCELLED_PARTIAL,
    UNPUSHED,
    FLAKY,
    SLOW,
    OWN_FOLDER,
    CONTINUED,
    SERVED,
    SERVED_CANCELLED,
)
