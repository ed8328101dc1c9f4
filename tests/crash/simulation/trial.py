"""One trial: a scenario lived through, with its deaths, to the end; and everything that was seen on the way."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, NamedTuple

from necrocode.engine import outbox
from necrocode.engine.driver import Driver
from necrocode.engine.entry import Entry
from necrocode.engine.errors import LeaseHeld, StopTriggered
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord
from necrocode.engine.stop import StopToken
from necrocode.engine.testing import Death, Moment, Mortal, Place, Plan, never
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.program import coding_program
from necrocode.states.recovery import IN_SLOT
from tests.crash.simulation.invariants import violations
from tests.crash.simulation.ports import Adapters, senders
from tests.crash.simulation.scenarios import BRANCH, DEADLINE, PARTIAL, REPOSITORY, Scenario
from tests.crash.simulation.world import Fate, World, files_of

HOUR = timedelta(hours=1)

LIVES = 8
"""A run that is left alone must end within this many resumptions."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A place to die at, or to be paused at."""

    number: int
    moment: Moment = "before"
    step: int = 0

    def __call__(self, place: Place) -> bool:
        return place.number == self.number and place.moment == self.moment and place.step == self.step

    def __str__(self) -> str:
        return f"{self.moment}:{self.number}" + (f".{self.step}" if self.step else "")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When what happens."""

    deaths: tuple[Plan, ...] = ()
    #: Where the first process is paused until another has taken the run over and driven it as far as it goes.
    pause: Plan | None = None
    fate: Fate = "soon"
    duplicates: bool = False
    delays: bool = False
    #: At a place: something that the world does then.
    meanwhile: tuple[tuple[Plan, Callable[[World], object]], ...] = ()

    def __str__(self) -> str:
        paused = f", paused {self.pause}" if self.pause else ""
        return (
            f"[{', '.join(map(str, self.deaths))}]{paused}, commands {self.fate}"
            + ", duplicates" * self.duplicates
            + ", delays" * self.delays
        )


class Crossing(NamedTuple):
    """Something that a life did to the disk or the world."""

    kind: str
    name: str
    #: Of the run, at that time.
    state: str


@dataclass
class Result:
    """What came of a trial."""

    scenario: Scenario
    schedule: Schedule
    died_at: list[Place] = field(default_factory=list)
    #: The state that the run was in at each death.
    died_in: list[str] = field(default_factory=list)
    paused_at: Place | None = None
    violations: list[str] = field(default_factory=list)
    #: Crossings of the first life, in order.
    crossings: list[Crossing] = field(default_factory=list)


class Trial:
    """A world, a journal, and processes that come and go."""

    def __init__(self, scenario: Scenario, schedule: Schedule, adapters: Adapters = Adapters()) -> None:  # noqa: B008
        self.scenario, self.schedule, self.adapters = scenario, schedule, adapters
        self.folder = _folder()
        #: Each life finds the journal in a file of its own: whatever a dead one left open is no concern of the next.
        self._onlooker: Journal | None = None
        self.path = self._fresh()
        shutil.copyfile(_blank(), self.path)
        self.world = World(self.folder / "world", dict(REPOSITORY), fate=schedule.fate, duplicates=schedule.duplicates)
        self.world.delays = schedule.delays
        self.world.down |= scenario.down
        self.world.faults.update(scenario.faults)
        if scenario.taken:
            self.world.theirs = self.world.somebody_pushes(BRANCH)
        if scenario.partial_before is not None:
            self.world.somebody_pushes(PARTIAL, ours=scenario.partial_before == "ours")
        if scenario.occupied:
            self.world.occupy()
        self.result = Result(scenario, schedule)
        #: What the journal said was on disk last: sequence number and hash.
        self.acknowledged: tuple[str, int, str] | None = None
        self.parked: list[str] = []
        self.state = "none"
        self.asked_to_cancel = False

    def run(self) -> Result:
        """Live through it; then everything is looked at."""
        found = self.result.violations
        try:
            self._live_through()
            found += violations(
                self.world, self.scenario, self._outside(), cancelled=self.asked_to_cancel, parked=bool(self.parked)
            )
        except AssertionError as error:
            found.append(f"liveness: {error}")
        except Exception as error:  # noqa: BLE001 - a process that fails so is a finding, not the end of a campaign
            found.append(f"error: {type(error).__name__}: {error}")
        finally:
            self._close()
        return self.result

    # --- processes ---

    def _live_through(self) -> None:
        for number, plan in enumerate(self.schedule.deaths):
            run = self._live(plan, first=number == 0)
            if run is None:
                self._between()
            elif run.status == "closed":
                break
            else:
                self._mend()
        lives = 0
        while (run := self._live(never, first=not self.schedule.deaths and lives == 0)) is None or (
            run.status != "closed"
        ):
            lives += 1
            assert lives < LIVES, f"left alone, it is {run and (run.status, run.state, run.stop_reason)}"
            self._mend()
        self._mend()
        self._deliver()
        self.world.arrive()
        self.world.late_supervisors_wake()

    def _live(self, plan: Plan, *, first: bool = False) -> RunRecord | None:
        """One process, as far as it gets; ``None`` if it died. A run that was parked as poison is forced."""
        mortal = Mortal(self._looking_on(plan, first=first), elsewhere=first and self.schedule.pause is not None)
        self._now = mortal
        try:
            with mortal.journal(self.path, durability="process-crash") as journal:
                return self._drive(journal, mortal)
        except Death:
            assert mortal.died_at is not None
            self.result.died_at.append(mortal.died_at)
            self.result.died_in.append(self.state)
            self.path = self._fresh()
            mortal.remains(self.path)
            return None

    def _drive(self, journal: Journal, mortal: Mortal, *, take_over: bool = False) -> RunRecord:
        self._is_there(journal)
        runs = journal.runs()
        run = runs[0] if runs else self._create(journal)
        if run.status == "parked":
            self._note_parking(run)
        ports = self.adapters.ports(self.world, mortal, self.scenario.answers, self.scenario.max_turns, self._heard)
        program = coding_program(ports)
        # Nothing that hangs on the clock.
        driver = Driver(journal, program, observer=self._observe, heartbeat=HOUR, cancel_poll=HOUR, ttl=timedelta(0))
        try:
            return driver.drive(run.run_id, take_over=take_over, force=run.stop_reason == "poison")
        except LeaseHeld:
            if self.result.paused_at is None:
                raise
            return journal.run(run.run_id)

    def _create(self, journal: Journal) -> RunRecord:
        begun = self.scenario.begin()
        if self.scenario.deadline_at is not None:
            begun["deadline_at"] = datetime.now(UTC) + DEADLINE
        return journal.create(LIFECYCLE, **begun)

    def _take_over(self) -> None:
        """Another process takes the run from the one that is paused, and drives it as far as it goes."""
        self._perhaps_cancel()
        mortal, self.world.superseded = Mortal(), True
        with mortal.journal(self.path, durability="process-crash") as journal:
            run = self._drive(journal, mortal, take_over=True)
            for _ in range(LIVES):
                if run.status == "closed":
                    return
                self._mend()
                run = self._drive(journal, mortal)
            raise AssertionError(f"left alone, it is {run.status} in {run.state}")

    def _looking_on(self, plan: Plan, *, first: bool) -> Plan:
        """``plan``, with what else happens at its places."""
        seen, pause, meanwhile = self.result.crossings, self.schedule.pause, self.schedule.meanwhile
        if not first and not meanwhile:
            return plan

        def look(place: Place) -> bool:
            if first and place.number > len(seen):
                seen.append(Crossing(place.kind, place.name, self.state))
            for when, happens in meanwhile:
                if when(place):
                    happens(self.world)
            if first and pause is not None and self.result.paused_at is None and pause(place) and not self._now.writing:
                self.result.paused_at = place
                self._take_over()
            return plan(place)

        return look

    # --- what happens besides ---

    def _between(self) -> None:
        """What goes on while nobody drives the run."""
        self.world.time_passes()
        if self.scenario.stolen and len(self.result.died_at) == 1:
            self.world.steal()
        self._perhaps_cancel()

    def _perhaps_cancel(self) -> None:
        if self.scenario.cancel_dead and not self.asked_to_cancel:
            for run in self._outside().runs():
                self._outside().request_cancel(run.run_id)
                self.asked_to_cancel = True

    def _mend(self) -> None:
        """Whatever was broken works again."""
        self.world.down.clear()
        self.world.faults.clear()
        self.world.vacate()

    def _heard(self, position: int, stop: StopToken) -> None:
        """Called while the model is asked: now the user cancels, or the deadline comes."""
        if position == self.scenario.back_at:
            self.world.down.clear()
        if position == self.scenario.deadline_at:
            while stop.signal is None:
                stop.wait(timedelta(seconds=0.02))
        if position == self.scenario.cancel_at:
            journal = self._outside()
            journal.request_cancel(journal.runs()[0].run_id)
            self.asked_to_cancel = True
            # What the heart would hear within its interval.
            stop.stop(StopTriggered("cancel", "cancelled on request", stop_reason="cancelled"))

    def _deliver(self) -> None:
        """Somebody delivers what waits in the outbox, dies once in the midst of it, and somebody delivers the rest."""
        if not outbox.waiting(self._outside()):
            return
        for plan in (Cut(14), never):
            mortal = Mortal(plan if self.result.died_at else never)
            try:
                with mortal.journal(self.path, durability="process-crash") as journal:
                    _, left = outbox.deliver(journal, senders(self.adapters, self.world, mortal))
            except Death:
                self.path = self._fresh()
                mortal.remains(self.path)
                continue
            if not left:
                break
            self.result.violations += [
                f"outbox: {parcel.call} was not delivered: {parcel.last_error}" for parcel in left
            ]

    # --- what is looked at on the way ---

    def _observe(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        """Told of each entry once it is on disk."""
        self.acknowledged, self.state = (entry.run_id, entry.seq, entry.hash), entry.state
        result = payload.get("result")
        if entry.kind == "outcome" and isinstance(result, dict) and result.get("snapshot"):
            self._compare(entry, result["snapshot"])
        elif (entry.kind, entry.name) == ("lease", "resumed") and entry.state in IN_SLOT:
            self._compare_resumed(entry)

    def _compare(self, entry: Entry, tree: str) -> None:
        # The newest: an older one may wait in the outbox to be returned.
        lent = [loan for loan in self.world.loans if loan.run_id == entry.run_id and loan.ended_by is None]
        loan = lent[-1] if lent else None
        if loan is not None and files_of(self.world.path(loan.slot_id)) != self.world.trees.get(tree):
            self._say(f"snapshot: entry {entry.seq} ({entry.name}) names a tree that the slot does not have")

    def _compare_resumed(self, entry: Entry) -> None:
        """Before a handler goes on, the slot has the last recorded snapshot, unless a command is to be adopted."""
        journal = self._outside()
        payloads = [(each, journal.payload(each)) for each in journal.entries(entry.run_id)]
        open_commands, tree = set[tuple[Any, Any]](), None
        for each, payload in payloads:
            place = (payload.get("visit"), payload.get("ordinal"))
            if each.kind == "transition":
                open_commands.clear()
            if each.kind == "intent" and isinstance(payload.get("note"), dict) and "command" in payload["note"]:
                open_commands.add(place)
            if each.kind == "outcome":
                open_commands.discard(place)
                result = payload.get("result")
                tree = (result.get("snapshot") if isinstance(result, dict) else None) or tree
        if not open_commands and tree is not None:
            self._compare(entry, tree)

    def _is_there(self, journal: Journal) -> None:
        """What was acknowledged before a death is there after it."""
        if self.acknowledged is not None:
            run_id, seq, digest = self.acknowledged
            found = {entry.seq: entry.hash for entry in journal.entries(run_id, after=seq - 1)}
            if found.get(seq) != digest:
                self._say(f"durability: entry {seq} was acknowledged and is not there")

    def _note_parking(self, run: RunRecord) -> None:
        reason = str(run.stop_reason)
        self.parked.append(reason)
        if reason not in self.scenario.parks | {"poison"}:
            self._say(f"parking: parked for {reason}: {run.data.get('error')}")
        held = [loan.slot_id for loan in self.world.loans if loan.run_id == run.run_id and loan.ended_by is None]
        if held and reason != "poison" and not self.world.down:
            self._say(f"slots: parked ({reason}) and holds {held}")

    def _say(self, words: str) -> None:
        self.result.violations.append(words)

    def _fresh(self) -> Path:
        self._close()
        for file in self.folder.glob("journal-*"):
            file.unlink()
        return self.folder / f"journal-{next(_numbers)}.db"

    def _outside(self) -> Journal:
        """The journal as somebody else has it open."""
        if self._onlooker is None:
            self._onlooker = Journal(self.path, durability="process-crash")
        return self._onlooker

    def _close(self) -> None:
        if self._onlooker is not None:
            self._onlooker.close()
            self._onlooker = None


_numbers = count(1)


def undisturbed(scenario: Scenario) -> Sequence[Crossing]:
    """The crossings of a life without faults, in order. Raises ``AssertionError`` if something is wrong already."""
    result = Trial(scenario, Schedule()).run()
    assert not result.violations, (scenario.name, result.violations)
    return result.crossings


@cache
def _folder() -> Path:
    """This process's folder, in memory where there is such a place: used again by every trial."""
    memory = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix=f"necrocode-sim-{os.getpid()}-", dir=memory if os.access(memory, os.W_OK) else None)
    )
    # Workers of a pool leave without the usual farewells.
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=1)
    return folder


@cache
def _blank() -> Path:
    path = _folder() / "blank.db"
    Journal(path, durability="process-crash").close()
    return path
