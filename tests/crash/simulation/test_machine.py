"""The Hypothesis machine: of a lifecycle that has nothing to do with code, and of one whose world is broken."""

from __future__ import annotations

import doctest
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from necrocode.engine import outbox
from necrocode.engine.driver import Program
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows
from necrocode.engine.testing import Mortal, Rehearsal, broken_promises
from necrocode.engine.testing import machine as machines
from necrocode.engine.testing.machine import machine
from necrocode.engine.testing.rehearsal import World
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.program import coding_program
from tests.crash.simulation.invariants import violations
from tests.crash.simulation.ports import Adapters, senders
from tests.crash.simulation.scenarios import PARALLEL, REPOSITORY, RETRIED, SET_UP, SUCCESS
from tests.crash.simulation.world import World as SimWorld

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


class Coding(Rehearsal):
    """The lifecycle of a coding task in the simulated world."""

    #: A slot is a folder, and a folder refuses nobody.
    fenced = False

    def __init__(self, lifecycle: Lifecycle, choices: Sequence[int]) -> None:
        super().__init__(lifecycle, choices)
        self.scenario = (SUCCESS, RETRIED, PARALLEL, SET_UP)[sum(choices) % 4]
        self.outside = SimWorld(Path(tempfile.mkdtemp(prefix="necrocode-machine-")), dict(REPOSITORY), fate="later")
        weakref.finalize(self, shutil.rmtree, self.outside.folder, ignore_errors=True)

    def begin(self) -> Mapping[str, Any]:
        return self.scenario.begin()

    def program(self, mortal: Mortal) -> Program:
        answers, turns = self.scenario.answers, self.scenario.max_turns
        return coding_program(Adapters().ports(self.outside, mortal, answers, turns, lambda *_: None))

    def deliver(self, journal: Journal, mortal: Mortal) -> None:
        outbox.deliver(journal, senders(Adapters(), self.outside, mortal))

    def outage(self, down: bool) -> None:
        self.outside.down = {"registry", "artifacts", "pool", "llm"} if down else set()

    def violations(self, journal: Journal, run_id: str) -> Iterator[str]:
        yield from broken_promises(journal, {self.lifecycle.name: self.lifecycle})
        if journal.run(run_id).status != "closed" or self.outside.down:
            return
        mortal = Mortal()
        _, left = outbox.deliver(journal, senders(Adapters(), self.outside, mortal))
        yield from (f"{parcel.call} cannot be delivered: {parcel.last_error}" for parcel in left)
        self.outside.late_supervisors_wake()
        # It may be stopped at any time, and parked, which gives up the command that is under way.
        yield from violations(self.outside, self.scenario, journal, cancelled=True, parked=True, ends_anyhow=True)


CodingTest = machine(LIFECYCLE, Coding).TestCase
CodingTest.settings = settings(BRIEF, max_examples=10, stateful_step_count=40)


def test_the_example_in_the_documentation_runs() -> None:
    tested = doctest.testmod(machines)
    assert tested.attempted > 3
    assert not tested.failed


def test_the_same_examples_take_the_same_course_whatever_the_clock_says() -> None:
    def courses() -> list[object]:
        told: list[object] = []

        class Told(Coding):
            def outage(self, down: bool) -> None:
                told.append(down)
                super().outage(down)

            def violations(self, journal: Journal, run_id: str) -> Iterator[str]:
                told.append([(e.kind, e.state, e.name, e.epoch) for e in journal.entries(run_id)])
                return super().violations(journal, run_id)

        case = machine(LIFECYCLE, Told).TestCase
        case.settings = settings(BRIEF, max_examples=6, stateful_step_count=40)
        case("runTest").debug()
        return told

    first = courses()
    assert first == courses()
    assert any(isinstance(each, list) and any(e[2] == "cancel" for e in each) for each in first)


class Forgetful(World):
    """Finds nothing of what it was given."""

    def find(self, attempt: Attempt) -> Json | None:
        del attempt
        return None


def test_a_world_that_forgets_what_it_did_is_found_out() -> None:
    def forgetful(lifecycle: Lifecycle, choices: Sequence[int]) -> Rehearsal:
        return Rehearsal(lifecycle, choices, world=Forgetful())

    case = machine(MIGRATION, forgetful).TestCase
    case.settings = settings(BRIEF, max_examples=100, suppress_health_check=list(HealthCheck), print_blob=False)
    with pytest.raises(AssertionError, match="happened 2 times"):
        case("runTest").debug()
