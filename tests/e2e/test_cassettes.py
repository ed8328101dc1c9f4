"""Cassettes: a run's answers recorded, and played again with no model at all."""

from __future__ import annotations

import json

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, EDIT, FINISH, SOLVE, Stage, calls

TALK = [calls(("bash", {"command": "cat greet.py"}), text="I look first."), *SOLVE]


def test_a_recorded_run_is_played_again_without_a_model_and_gives_the_same_tree(stage: Stage, play: Play) -> None:
    model = play(*TALK)
    done = stage.necrocode("run", "--record", "talk.json", stage.task())
    assert done.code == 0, done.err
    answers = json.loads((stage.root / "talk.json").read_text())["conversations"][0]["answers"]
    assert [len(each["tool_calls"]) for each in answers] == [1, 1, 1]
    asked = len(model.requests)

    again = stage.task("again.json", task_id="2")
    del stage.environment["NECROCODE_LLM_ENDPOINT"]
    done = stage.necrocode("run", "--replay", "talk.json", again, LLM_API_KEY="")
    assert done.code == 0, done.err
    assert len(model.requests) == asked, "no model was asked"
    trees = {git(stage.remote, "rev-parse", f"{branch}^{{tree}}") for branch in (BRANCH, "feature/task-greeting-2")}
    assert len(trees) == 1
    assert [run.state for run in stage.runs()] == ["completed", "completed"]


def test_a_run_that_was_killed_is_recorded_whole_and_a_replay_goes_on_after_a_death(stage: Stage, play: Play) -> None:
    model = play(EDIT, {**FINISH, "delay_seconds": 60})
    process = stage.start("run", stage.task())
    stage.wait_until(lambda: len(model.requests) == 2, process)
    process.kill()
    process.communicate()
    play(*SOLVE)
    done = stage.necrocode("run", "--record", "talk.json", stage.task())
    assert done.code == 0, done.err
    task = stage.task("again.json", task_id="2", test_commands=["sleep 2; sh check.sh"])
    process = stage.start("run", "--replay", "talk.json", task)
    stage.wait_until(lambda: any(run.state == "testing" for run in stage.runs()), process)
    process.kill()
    process.communicate()
    done = stage.necrocode("run", "--replay", "talk.json", task)
    assert done.code == 0, done.err
    assert [run.state for run in stage.runs()] == ["completed", "completed"]


def test_a_refusal_is_played_again_too(stage: Stage, play: Play) -> None:
    change = {
        "file_path": "greet.py",
        "operation": "modify",
        "content": "def greet(name):\n    return f'hello, {name}'\n",
    }
    document = json.dumps({"code_changes": [change], "explanation": "it greets by name"})
    fault = {"status": 400, "body": {"error": {"message": "tools are not supported"}}}
    play({"text": document, "faults": [fault]})
    done = stage.necrocode("run", "--record", "talk.json", stage.task())
    assert done.code == 0, done.err
    done = stage.necrocode("run", "--replay", "talk.json", stage.task("again.json", task_id="2"))
    assert done.code == 0, done.err
    names = [
        entry.name for run in stage.runs()[1:] for entry, _ in stage.entries(run.run_id) if entry.kind == "outcome"
    ]
    assert names.count("llm.chat") == 2


def test_a_cassette_that_is_none_or_that_ends_too_early_is_said(stage: Stage) -> None:
    (stage.root / "bad.json").write_text("{")
    for name, words in (("bad.json", "is not JSON"), ("nowhere.json", "cannot be read")):
        refused = stage.necrocode("run", "--replay", name, stage.task())
        assert (refused.code, words in refused.err) == (2, True), refused.err
    (stage.root / "short.json").write_text(json.dumps({"answers": [EDIT]}))
    done = stage.necrocode("run", "--replay", "short.json", stage.task())
    assert done.code == 3, done.err
    assert "no answer at position 1" in done.err
    assert stage.necrocode("cancel", stage.only_run.run_id).code == 0
