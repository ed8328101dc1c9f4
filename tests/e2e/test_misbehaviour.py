"""Models that misbehave, each in a way of its own: every run ends, with the right exit code and words for a person."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, EDIT, FINISH, Stage, calls


@dataclass(frozen=True)
class Way:
    """One way to misbehave, and how the run has to end."""

    name: str
    answers: tuple[Any, ...]
    code: int
    stop_reason: str
    #: What a person reads.
    words: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


def says(**message: Any) -> dict[str, Any]:
    """The same message for ever, in the endpoint's own form."""
    finish_reason = message.pop("finish_reason", "stop")
    body = {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": finish_reason}]}
    return {"faults": [{"body": body}], "always": True}


def bash(command: str, **more: Any) -> dict[str, Any]:
    return {**calls(("bash", {"command": command})), **more}


def broken(arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": "edit_file", "arguments": arguments}], **more}


WRONG = calls(("edit_file", {"path": "greet.py", "old_text": "'hello'", "new_text": "'hullo'"}))
BACK = calls(("edit_file", {"path": "greet.py", "old_text": "'hullo'", "new_text": "'hello'"}))
READ = calls(("read_file", {"path": "greet.py"}))
EXPENSIVE = {"usage": {"prompt_tokens": 5_000, "completion_tokens": 5_000}}

WAYS = [
    Way("calls a tool that is none", (calls(("launch_rocket", {})),), 7, "stuck", "There is no tool 'launch_rocket'"),
    Way("writes arguments that are not JSON", (broken('{"path": "gre'),), 7, "stuck", "not valid JSON"),
    Way("leaves arguments out", (broken('{"path": "greet.py"}'),), 7, "stuck", "old_text, new_text missing"),
    Way(
        "gives arguments of the wrong type", (broken('{"path": 7, "old_text": 1, "new_text": 2}'),), 7, "stuck", "path"
    ),
    Way("cuts every call short", (broken('{"path": "greet', finish_reason="length"),), 7, "stuck", "was cut at its"),
    Way("only talks", ({"text": "I would change greet.py."},), 7, "stuck", "without calling a tool"),
    Way("says nothing", ({"text": ""},), 7, "stuck", "without calling a tool"),
    Way("only thinks", ({"text": "<think>Hm. Or rather"},), 7, "stuck", "without calling a tool"),
    Way("refuses", (says(refusal="I can't help with that."),), 7, "stuck", "refused the task"),
    Way("is filtered", (says(content="", finish_reason="content_filter"),), 7, "stuck", "refused the task"),
    Way("does the same again and again", (READ,), 7, "stuck", "the same call of read_file"),
    Way(
        "goes round in a circle",
        (bash("cat greet.py"), bash("ls")) * 8,
        7,
        "stuck",
        "the same call of bash",
    ),
    Way(
        "edits what is not there",
        tuple(calls(("edit_file", {"path": "greet.py", "old_text": f"no {n}", "new_text": ""})) for n in range(12)),
        7,
        "stuck",
        "were refused",
    ),
    Way(
        "wants to leave the repository",
        tuple(calls(("write_file", {"path": f"../{n}", "content": ""})) for n in range(12)),
        7,
        "stuck",
        "is outside the repository",
    ),
    Way("tries to kill everything", (bash("kill -9 $PPID; kill -9 -1"),), 7, "stuck", "the same call of bash"),
    Way("finishes without a change", (FINISH,), 1, "no_change", "no file has changed"),
    Way("takes its change back", (WRONG, BACK, FINISH, FINISH), 1, "no_change", "no file has changed"),
    Way("never makes the tests pass", (WRONG, FINISH, FINISH, FINISH), 1, "tests_failed", "still fail: 'sh check.sh'"),
    Way("deletes everything", (bash("rm -rf ./* .git*"), FINISH, FINISH, FINISH), 1, "tests_failed", "still fail"),
    Way(
        "never finishes",
        tuple(bash(f"echo {n}") for n in range(9)),
        6,
        "budget",
        "has had its 5 turns. Raise max_turns",
        settings={"NECROCODE_MAX_TURNS": "5"},
    ),
    Way(
        "calls a hundred tools at once",
        (calls(*(("bash", {"command": f"echo {n}"}) for n in range(100))),),
        6,
        "budget",
        "has had its 20 tool calls. Raise max_tool_calls",
        settings={"NECROCODE_MAX_TOOL_CALLS": "20"},
    ),
    Way(
        "drowns in output",
        tuple(bash(f"seq {n} 20000") for n in range(9)),
        6,
        "budget",
        "Raise max_total_output_bytes",
        settings={"NECROCODE_MAX_TOTAL_OUTPUT_BYTES": "65536"},
    ),
    Way(
        "uses up its tokens",
        tuple(bash(f"echo {n}", **EXPENSIVE) for n in range(9)),
        6,
        "budget",
        "tokens are spent",
        settings={"NECROCODE_MAX_TOTAL_TOKENS": "30000"},
    ),
    Way(
        "uses up its money",
        tuple(bash(f"echo {n}", **EXPENSIVE) for n in range(9)),
        6,
        "budget",
        "Raise max_cost_usd",
        settings={
            "NECROCODE_MAX_COST_USD": "1",
            "NECROCODE_PRICES": json.dumps({"gpt-4": {"input": "30", "output": "60"}}),
        },
    ),
    Way(
        "waits for something that never comes",
        (EDIT, bash("sleep 600")),
        6,
        "deadline",
        "time",
        fields={"timeout_seconds": 4},
    ),
    Way(
        "takes for ever to answer",
        (EDIT, {**FINISH, "delay_seconds": 600}),
        6,
        "deadline",
        "time",
        fields={"timeout_seconds": 4},
    ),
]


def test_there_are_twenty_ways_and_more() -> None:
    assert len({way.name for way in WAYS}) == len(WAYS) >= 20


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_model_that(stage: Stage, play: Play, way: Way) -> None:
    model = play(*way.answers, forever=True)
    began = time.monotonic()
    done = stage.necrocode("run", stage.task(**way.fields), NECROCODE_TOOL_MODE="tools", **way.settings)
    assert done.code == way.code, done.err
    assert time.monotonic() - began < 60, "a run that goes nowhere ends soon"
    run = stage.only_run
    assert (run.status, run.state, run.stop_reason) == ("closed", "failed", way.stop_reason)
    assert way.words in done.err
    assert f"exit code {way.code}" in done.err
    assert way.stop_reason != "stuck" or len(model.requests) <= 13
    assert BRANCH not in stage.branches()
    assert stage.events() == [("1", "RunnerStarted"), ("1", "TaskFailed")]
