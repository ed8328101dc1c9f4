"""The table of the coding task: what can happen after what."""

from __future__ import annotations

import pytest

from necrocode.states.lifecycle import LIFECYCLE, STOPPABLE
from necrocode.states.program import coding_program

AFTER_THE_PUSH = ("uploading", "reporting", "releasing")


def reachable(start: str) -> set[str]:
    found, frontier = {start}, [start]
    while frontier:
        state = frontier.pop()
        for row in LIFECYCLE.transitions:
            if row.source == state and row.target not in found:
                found.add(row.target)
                frontier.append(row.target)
    return found


def test_nothing_stops_a_run_after_its_push() -> None:
    for state in AFTER_THE_PUSH:
        assert not LIFECYCLE.triggers(state) & {"error", "deadline", "budget", "cancel"}
        assert not reachable(state) & {"failing", "cancelling"}


@pytest.mark.parametrize("state", STOPPABLE)
def test_every_state_before_the_push_can_be_stopped(state: str) -> None:
    assert {"error", "deadline", "budget", "cancel"} <= LIFECYCLE.triggers(state)


def test_a_refused_push_fails_the_task_and_nothing_else_stops_a_push() -> None:
    assert LIFECYCLE.triggers("pushing") == {"pushed", "error"}


def test_every_way_to_an_end_gives_the_slot_back() -> None:
    before_the_end = {row.source for row in LIFECYCLE.transitions if row.target in LIFECYCLE.terminal}

    assert before_the_end == {"releasing"}


@pytest.mark.parametrize("state", [name for name in LIFECYCLE.states if name not in LIFECYCLE.terminal])
def test_every_state_has_a_module_that_is_named_like_it(state: str) -> None:
    from importlib import import_module

    module = import_module(f"necrocode.states.{state}")

    assert module.__doc__ and module.__doc__.startswith(f"{state}: ")
    assert callable(module.handle)


@pytest.mark.parametrize(("attempt", "target"), [(1, "implementing"), (2, "implementing"), (3, "failing")])
def test_failed_tests_go_back_while_attempts_are_left(attempt: int, target: str) -> None:
    data = {"attempt": attempt, "max_attempts": 3}

    assert LIFECYCLE.choose("testing", "failed_tests", data).target == target


@pytest.mark.parametrize("result", ["completed", "failed", "cancelled"])
def test_the_recorded_result_decides_the_end(result: str) -> None:
    assert LIFECYCLE.choose("releasing", "released", {"result": result}).target == result


def test_without_a_push_the_commit_is_only_kept() -> None:
    assert LIFECYCLE.choose("committing", "committed", {"push": False}).target == "uploading"
    assert LIFECYCLE.choose("committing", "committed", {"push": True}).target == "pushing"


def test_the_program_has_a_handler_for_every_state() -> None:
    program = coding_program(None)  # type: ignore[arg-type]

    assert set(program.handlers) == set(LIFECYCLE.states) - LIFECYCLE.terminal
