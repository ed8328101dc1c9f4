"""What the golden runs are about: one story for each way in which a run can stand in a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.e2e.stage import EDIT, FINISH, calls

LOOK = calls(("read_file", {"path": "greet.py"}), text="Let me look.")
WRONG = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return 'hullo'\n"}))
RIGHT = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return f'hello, {name}'\n"}))
NAP = calls(("bash", {"command": "echo once >> notes.txt; nap=1; sleep 1; echo done"}), text="First a nap.")


@dataclass(frozen=True)
class Story:
    """One recorded run."""

    name: str
    answers: tuple[Mapping[str, Any], ...] = (LOOK, EDIT, FINISH)
    #: How far it is recorded: to its end, until it parks, until it is killed at the entry ``at`` (kind, state and name)
    #: or in a command, or until it is cancelled after that.
    until: Literal["end", "parked", "entry", "nap", "cancel"] = "end"
    at: str = ""
    #: The state it is in then.
    state: str = "completed"
    #: The state it must end in.
    ends: str = "completed"
    task: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


_JUNIT = '<testsuite><testcase name="old"><failure message="it never worked"/></testcase></testsuite>'
PLAYBOOK = {
    "name": "golden",
    "steps": [
        {"name": "flaky", "run": "test $(cat runs.log | wc -c) -gt 1 || { echo >> runs.log; false; }", "retries": 3},
        {"name": "absent", "run": "false", "when": "exists('no.py')"},
        {"name": "loose", "run": f"echo '{_JUNIT}' > out.log; false", "junit": "*.log", "allow_failure": True},
        {"name": "tests", "run": "sh check.sh", "when": "steps.flaky.passed and changed('*.py') or attempt == 0"},
    ],
}

ONE_ATTEMPT = {"NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS": "1"}

STORIES: tuple[Story, ...] = (
    Story("completed"),
    Story("retried", (WRONG, FINISH, RIGHT, FINISH)),
    Story(
        "playbook",
        (RIGHT, FINISH),
        task={"test_commands": None, "playbook": PLAYBOOK},
        env={"NECROCODE_BASELINE_TESTS": "report"},
    ),
    Story("failed", (WRONG, FINISH), state="failed", ends="failed", env=ONE_ATTEMPT),
    Story("cancelled", until="cancel", at="outcome implementing llm.chat", state="cancelled", ends="cancelled"),
    Story("parked", until="parked", state="implementing"),
    Story(
        "killed-in-preparing",
        until="entry",
        at="intent preparing command.setup",
        state="preparing",
        task={"setup_commands": ["echo made > made.log"]},
    ),
    Story("killed-in-implementing", (NAP, EDIT, FINISH), until="nap", state="implementing"),
    Story("killed-in-pushing", until="entry", at="intent pushing git.push", state="pushing"),
    Story(
        "killed-in-failing",
        (WRONG, FINISH),
        until="entry",
        at="intent failing artifact.upload",
        state="failing",
        ends="failed",
        env=ONE_ATTEMPT,
    ),
)
