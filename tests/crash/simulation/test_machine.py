"""The Hypothesis machine: of a lifecycle that has nothing to do with code, and of one whose world is broken."""

from __future__ import annotations

import doctest
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, settings

from necrocode.engine.effects import Attempt, Json
from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows
from necrocode.engine.testing import Rehearsal
from necrocode.engine.testing import machine as machines
from necrocode.engine.testing.machine import machine
from necrocode.engine.testing.rehearsal import World

MIGRATION = Lifecycle(
    name="data-migration",
    version=1,
    initial="copying",
    states=[
        State("copying"),
        State("comparing"),
        State("switching"),
        State("undoing"),
        State("switched", terminal=True),
        State("undone", terminal=True),
    ],
    transitions=[
        Transition("copied", "copying", "comparing"),
        Transition("differs", "comparing", "copying"),
        Transition("agrees", "comparing", "switching"),
        Transition("switched_over", "switching", "switched"),
        *rows("cancel", ("copying", "comparing"), "undoing"),
        *rows("deadline", ("copying", "comparing"), "undoing"),
        Transition("undid", "undoing", "undone"),
    ],
)

#: Shrinking would take minutes: the steps of a failure are printed as they are.
BRIEF = settings(
    max_examples=12, stateful_step_count=30, deadline=None, database=None, derandomize=True, phases=(Phase.generate,)
)

MigrationTest = machine(MIGRATION).TestCase
MigrationTest.settings = BRIEF


def test_the_example_in_the_documentation_runs() -> None:
    tested = doctest.testmod(machines)
    assert tested.attempted > 3
    assert not tested.failed


class Forgetful(World):
    """Finds nothing of what it was given."""

    def find(self, attempt: Attempt) -> Json | None:
        del attempt


def test_a_world_that_forgets_what_it_did_is_found_out() -> None:
    def forgetful(lifecycle: Lifecycle, choices: Sequence[int]) -> Rehearsal:
        return Rehearsal(lifecycle, choices, world=Forgetful())

    case = machine(MIGRATION, forgetful).TestCase
    case.settings = settings(BRIEF, max_examples=100, suppress_health_check=list(HealthCheck), print_blob=False)
    with pytest.raises(AssertionError, match="happened 2 times"):
        case("runTest").debug()
