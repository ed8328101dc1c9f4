"""The coder killed anywhere: what was recorded is neither bought nor done again, and the result is the same."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from necrocode.engine.errors import EnvironmentFault
from necrocode.states.ports import TestResult
from tests.necrocode.coder.conftest import MakeWorld
from tests.necrocode.coder.world import Died, World, answer, call, finish

EDIT = call("edit_file", path="calc.py", old_text="a * b", new_text="a + b")
STEPS = [
    answer(call("read_file", path="calc.py"), call("bash", command="echo one >> effects")),
    answer(text="Hm."),
    answer(
        call("edit_file", path="calc.py", old_text="a * b", new_text="a - b"),
        call("write_file", path="docs/note.md", content="note\n"),
        call("bash", command="echo two >> effects; cat calc.py"),
    ),
    finish("first try"),
    answer(call("edit_file", path="calc.py", old_text="a - b", new_text="a + b")),
    finish("second try"),
]


def verdict_on(slot: Path) -> list[TestResult]:
    good = "a + b" in (slot / "calc.py").read_text()
    return [TestResult("unit", good, "exited", 0 if good else 1, "2 != 3", 0.0)]


def whole(make_world: MakeWorld, die_at: int | None) -> World:
    world = make_world(STEPS)
    world.tests = verdict_on
    world.seam.die_at = die_at
    # the base's own snapshot is not the coder's business
    if die_at is not None:
        world.seam.die_at = die_at + 2
    assert world.drive_over_deaths().state == "completed"
    return world


def test_a_death_at_any_crossing_changes_nothing(make_world: MakeWorld) -> None:
    undisturbed = whole(make_world, None)
    crossings = undisturbed.seam.crossings - 2
    assert crossings >= 30
    interrupted = 0
    for die_at in range(1, crossings + 1):
        world = whole(make_world, die_at)
        statuses = [result["status"] for name, result in world.outcomes if name == "tool.bash"]
        lost = statuses.count("interrupted")
        interrupted += lost
        assert lost <= 1
        assert world.content("calc.py") == "def add(a, b):\n    return a + b\n"
        assert world.content("docs/note.md") == "note\n"
        done = world.workspace.trees[world.journal.run(world.run_id).data["tree"]].get("effects", (b"", False))[0]
        assert sorted(done.split()) == ([b"one", b"two"] if not lost else done.split()), "once, never twice"
        assert len(done.split()) == 2 - lost
        recorded = [name for name, _ in world.outcomes].count("llm.chat")
        assert recorded == len(STEPS)
        assert len(world.model.requests) <= recorded + 1, "an answer that was recorded is never bought again"
        if not lost:
            last, reference = world.model.requests[-1], undisturbed.model.requests[-1]
            assert list(last.messages) == list(reference.messages), "the conversation is the same"
    assert interrupted >= 2, "some deaths came before a command had started"


def test_a_command_that_ended_while_the_runner_was_dead_is_adopted(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT, call("bash", command="echo ran >> log; echo real output")), finish()])

    def die_when_it_has_ended() -> None:
        # the next crossing is the one after the command's end
        world.seam.die_at = world.seam.crossings + 1

    world.commands.on_start = die_when_it_has_ended
    assert world.drive_over_deaths().state == "completed"
    assert world.content("log") == "ran\n"
    assert world.tool_results()[1] == "exit code 0\nreal output"
    assert len(world.commands.specs) == 1


def test_a_command_that_was_lost_is_put_back_and_the_model_is_told(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT, call("bash", command="echo never")), finish()])

    def die_and_leave_a_mess() -> None:
        (world.slot / "half").write_text("half-done")
        raise Died

    world.commands.on_start = die_and_leave_a_mess
    assert world.drive_over_deaths().state == "completed"
    assert "interrupted by a crash of the runner" in world.tool_results()[1]
    assert "put back" in world.tool_results()[1]
    assert not (world.slot / "half").exists()
    assert world.content("calc.py").endswith("a + b\n")


def test_a_command_whose_snapshot_failed_is_not_believed_after_the_files_were_put_back(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT, call("bash", command="echo ran >> log")), finish()])

    def break_the_next_snapshot() -> None:
        world.workspace.broken = EnvironmentFault("the disk is full", stop_reason="disk_full")

    world.commands.on_start = break_the_next_snapshot
    assert world.drive().status == "parked"
    assert world.drive().state == "completed"
    assert "interrupted" in world.tool_results()[1]
    with pytest.raises(KeyError):
        world.content("log")


def test_a_command_that_was_stopped_with_the_runner_is_told_as_such(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT, call("bash", command="echo some >> log")), finish()])

    def interrupt() -> None:
        world.driver.interrupt()
        # Another thread brings the word.
        assert world.driver.stop is not None
        assert world.driver.stop.wait(timedelta(seconds=20))

    world.commands.on_start = interrupt
    assert world.drive().state == "implementing"
    assert world.drive().state == "completed"
    assert world.tool_results()[1].startswith("It was killed because the runner was asked to stop.")
    assert world.content("log") == "some\n"
    assert len(world.commands.specs) == 1


def test_limits_are_not_reset_by_a_death(make_world: MakeWorld) -> None:
    world = make_world([answer(call("bash", command="date +%N"))], forever=True, max_turns=4)
    for die_at in (12, 18, None):
        world.seam.die_at = die_at
        try:
            run = world.drive()
        except Died:
            continue
        break
    assert (run.state, run.data["stop_reason"]) == ("failed", "budget")
    assert [name for name, _ in world.outcomes].count("llm.chat") == 4


def test_that_an_endpoint_takes_no_tools_is_remembered_over_a_death(make_world: MakeWorld) -> None:
    mend = '{"code_changes": [{"file_path": "calc.py", "operation": "create", "content": "x = 1"}]}'
    world = make_world([answer(text=mend)])
    world.model.errors = {0: [EnvironmentFault("tools are not supported", stop_reason="llm_request")]}

    def die_at_the_second(request: Any) -> None:
        if not request.tools and world.journal.run(world.run_id).epoch == 1:
            raise Died

    world.model.watch = die_at_the_second
    assert world.drive_over_deaths().state == "completed"
    assert [bool(request.tools) for request in world.model.requests] == [True, False, False]


def test_a_replay_tells_no_progress_of_what_was_done_before(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()])
    world.model.errors = {1: [EnvironmentFault("no", stop_reason="llm_auth")]}
    world.drive()
    world.events.clear()
    world.drive()
    assert [event.doing for event in world.events] == ["model"]
