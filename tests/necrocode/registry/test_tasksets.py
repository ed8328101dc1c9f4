"""Task sets: cycles, checked moves, and what a task that is done frees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.registry.tasksets import (
    FOLLOWS,
    STATES,
    IllegalTransition,
    SetTask,
    TaskState,
    check_transition,
    find_cycle,
    next_ready,
    problems,
    settled,
)


def task(id: str, *needs: str, state: TaskState = "blocked", **more: bool | int) -> SetTask:
    return replace(SetTask(id, f"Task {id}", state=state, dependencies=needs), **more)  # type: ignore[arg-type]


def states(tasks: list[SetTask]) -> dict[str, str]:
    return {each.id: each.state for each in tasks}


def test_a_duplicate_id_an_unknown_dependency_and_a_cycle_are_each_named() -> None:
    found = problems([task("1"), task("2", "1"), task("1", "2"), task("4", "9")])
    assert [str(each) for each in found] == [
        "tasks[2].id: '1' is the id of tasks[0] already",
        "tasks[3].dependencies: '9' is no task of this set",
    ]
    found = problems([task("1"), task("2", "3"), task("3", "2")])
    assert [str(each) for each in found] == ["tasks[1].dependencies: go round in a circle: 2 → 3 → 2"]
    assert problems([task("1"), task("2", "1"), task("3", "1", "2")]) == []


def test_a_task_that_depends_on_itself_is_a_cycle() -> None:
    assert find_cycle([task("1", "1")]) == ("1",)


def test_a_cycle_behind_a_long_chain_is_found() -> None:
    chain = [task(str(n), str(n + 1)) for n in range(5000)]
    assert find_cycle([*chain, task("5000")]) == ()
    assert find_cycle([*chain, task("5000", "4998")]) == ("4998", "4999", "5000")


@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8))
def test_a_cycle_is_found_exactly_when_no_order_exists(needs: list[list[int]]) -> None:
    tasks = [task(str(n), *(str(wanted) for wanted in wants if wanted < len(needs))) for n, wants in enumerate(needs)]
    left, done = {each.id: set(each.dependencies) for each in tasks}, set[str]()
    while free := [id for id, wants in left.items() if wants <= done]:
        done |= set(free)
        left = {id: wants for id, wants in left.items() if id not in done}
    cycle = find_cycle(tasks)
    assert bool(cycle) == bool(left)
    by_id = {each.id: each for each in tasks}
    for one, following in zip(cycle, (*cycle[1:], *cycle[:1]), strict=True):
        assert following in by_id[one].dependencies


def test_what_waits_for_a_task_becomes_ready_when_all_it_waits_for_is_done() -> None:
    tasks = [task("1", state="done"), task("2", "1"), task("3", "1", "2"), task("4", "1", state="failed")]
    assert states(settled(tasks)) == {"1": "done", "2": "ready", "3": "blocked", "4": "failed"}


def test_a_group_is_done_by_itself_and_frees_what_waits_for_it() -> None:
    tasks = [task("3", "2"), task("2", "1", is_group=True), task("1", "1.1", is_group=True), task("1.1", state="done")]
    assert states(settled(tasks)) == {"1.1": "done", "1": "done", "2": "done", "3": "ready"}
    tasks[3] = replace(tasks[3], state="running")
    assert settled(tasks) == tasks


def test_a_ready_task_is_blocked_when_what_it_waits_for_is_to_be_done_again() -> None:
    assert states(settled([task("1", state="ready"), task("2", "1", state="ready")])) == {"1": "ready", "2": "blocked"}


def test_the_next_task_is_ready_free_and_of_the_highest_priority() -> None:
    tasks = [
        task("1", state="running"),
        task("2", "1", state="ready", priority=9),
        task("3", state="ready"),
        task("4", state="ready", priority=1),
        task("5", state="ready", priority=1),
        task("6", state="ready", priority=5, is_optional=True),
        task("7", state="ready", priority=5, is_group=True),
    ]
    found = next_ready(tasks)
    assert found is not None and found.id == "4"
    found = next_ready(tasks, optional=True)
    assert found is not None and found.id == "6"
    assert next_ready(tasks[:2]) is None


@pytest.mark.parametrize("state", STATES)
def test_transitions_are_checked_and_the_error_says_what_is_allowed(state: TaskState) -> None:
    for to in STATES:
        if to == state or to in FOLLOWS[state]:
            check_transition("1", state, to, [])
        else:
            with pytest.raises(
                IllegalTransition, match=f"'1' is {state} and cannot become {to}: only {FOLLOWS[state][0]}"
            ):
                check_transition("1", state, to, [])


def test_a_blocked_task_is_said_to_wait_for_what_is_not_done() -> None:
    with pytest.raises(IllegalTransition, match="'3' is blocked until '1', '2' is done: it cannot become running"):
        check_transition("3", "blocked", "running", ["1", "2"])
