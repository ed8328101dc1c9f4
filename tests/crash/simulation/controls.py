"""Negative controls: deliberately broken variants, each of which must be caught by every schedule aimed at it.

A schedule counts only if the product itself passes it: what catches everything proves nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from necrocode.engine.claim import Addition, Claim, claim
from necrocode.engine.errors import JournalUnavailable, Superseded
from necrocode.engine.journal import Journal
from necrocode.engine.testing import Moment, Place, broken_promises
from necrocode.engine.writer import _Step
from necrocode.git.slot import SlotFiles
from necrocode.states.lifecycle import LIFECYCLE
from tests.crash.parts import Asked, Job, Part
from tests.crash.simulation import breaking
from tests.crash.simulation.ports import Adapters
from tests.crash.simulation.scenarios import (
    BACK,
    BRANCH,
    CANCELLED_DEAD,
    FAILED_PARTIAL,
    MUTE,
    STOLEN,
    SUCCESS,
    Scenario,
)
from tests.crash.simulation.schedules import FATES
from tests.crash.simulation.trial import Schedule, Trial
from tests.crash.simulation.world import World
from tests.crash.tally import Failure, Tally
from tests.necrocode.git.repositories import git, make_store, write


@dataclass
class Upon:
    """The plan to do something at the ``nth`` place of this name and moment, counted from the first ``since`` on."""

    name: str
    moment: Moment = "before"
    nth: int = 1
    step: int = 0
    since: str = ""
    seen: int = 0

    def __call__(self, place: Place) -> bool:
        self.since = "" if place.name == self.since else self.since
        if self.since:
            return False
        self.seen += (place.name, place.moment, place.step) == (self.name, self.moment, self.step)
        if self.seen < self.nth:
            return False
        self.seen = -(1 << 30)
        return True

    def __str__(self) -> str:
        return f"{self.moment} {self.name} no. {self.nth}"


Attempt = Callable[[], list[str]]
"""One schedule carried out: what was found."""


@dataclass(frozen=True)
class Control:
    """One broken variant, and what is aimed at it."""

    name: str
    #: Schedules, fresh for each use; or other attempts altogether.
    aims: Callable[[], Iterable[Schedule | Attempt]]
    breaks: Callable[[], AbstractContextManager[Any]] = nullcontext
    scenario: Scenario = SUCCESS
    adapters: Adapters = field(default_factory=Adapters)

    def attempts(self, *, broken: bool) -> Iterator[list[str]]:
        """What each schedule finds."""
        adapters = self.adapters if broken else Adapters()
        for aim in self.aims():
            with self.breaks() if broken else nullcontext():
                if isinstance(aim, Schedule):
                    yield Trial(self.scenario, aim, adapters).run().violations
                else:
                    yield aim()


def caught(control: Control) -> tuple[int, int]:
    """How many schedules are aimed at it, and how many found it. Raises ``AssertionError`` if one finds something
    wrong with the product itself.
    """
    for found in control.attempts(broken=False):
        assert not found, (control.name, found)
    results = [bool(found) for found in control.attempts(broken=True)]
    return len(results), sum(results)


def _tried(name: str) -> Tally:
    (control,) = [control for control in CONTROLS if control.name == name]
    schedules, found = caught(control)
    tally = Tally(trials=Counter({name: schedules}), caught=Counter({name: found}))
    if found < schedules or not schedules:
        tally.failures.append(Failure(f"{NAME}/{name}", (f"caught by {found} of {schedules} schedules",)))
    return tally


def _jobs(asked: Asked, _: Executor) -> Iterator[Job]:
    return (partial(_tried, control.name) for control in CONTROLS if asked.only in control.name)


def _again(words: str, _: Asked) -> Tally:
    if words not in {control.name for control in CONTROLS}:
        raise ValueError(f"there is no negative control {words!r}")
    return _tried(words)


NAME = "negative controls"

NEGATIVE_CONTROLS = Part(NAME, "all", _jobs, _again)
"""All of them, as a part of the campaign."""


def _deaths(*plans: tuple[str, Moment, int, int], fates: Iterable[Any] = ("soon",)) -> Iterator[Schedule]:
    for name, moment, nth, step in plans:
        for fate in fates:
            yield Schedule((Upon(name, moment, nth, step),), fate=fate)


def _paused(*plans: tuple[str, Moment, int]) -> Iterator[Schedule]:
    for name, moment, nth in plans:
        yield Schedule(pause=Upon(name, moment, nth))


def _interloper() -> Iterator[Schedule]:
    def pushes(world: World) -> None:
        world.somebody_pushes(BRANCH)

    for fate in FATES:
        yield Schedule(meanwhile=((Upon("git.push", "during"), pushes),), fate=fate)


def _late_supervisor() -> Iterator[Schedule]:
    """Forked before its runner died, it gets to run only once recovery has settled its command."""
    for name in ("command.attach", "slot.restore"):
        wakes = ((Upon(name, "after"), World.late_supervisors_wake),)
        yield Schedule((Upon("command.run", "during"),), fate="later", meanwhile=wakes)


def _refused_in_a_batch() -> Iterator[Attempt]:
    """Two runs, whose steps are committed together; the first one's is refused half-way."""
    for last in (False, True):
        yield lambda last=last: _batch(last=last)  # type: ignore[misc]


def _batch(*, last: bool) -> list[str]:
    trial = Trial(SUCCESS, Schedule())
    with closing(Journal(trial.path, durability="process-crash")) as journal:
        held = []
        for subject in ("one", "two"):
            run = journal.create(LIFECYCLE, subject=subject, data={"task": {}})
            held.append(claim(journal, run.run_id))
        refused, good = held
        submit, operations = journal.writer.submit, list[Any]()
        with breaking.swapped(journal.writer, "submit", operations.append):
            for one in held:
                one.append([Addition("warning", "said", {"visit": 0, "ordinal": 0})])

        def half_way(cursor: Any) -> None:
            operations[0](_Stingy(cursor))

        steps = [_Step(half_way), _Step(operations[1])]
        journal.writer._lead(steps[::-1] if last else steps)
        submit(lambda _: None)
        found = [] if isinstance(steps[0].error, Superseded) else ["the step was not refused"]
        found += [] if steps[1].error is None else [f"an innocent step failed: {steps[1].error}"]
        del refused, good
        return found + list(broken_promises(journal, {LIFECYCLE.name: LIFECYCLE}))


class _Stingy:
    """A cursor on which a step is refused once it has moved its run's head."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> Any:
        return self._cursor.rowcount

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        if sql.startswith("INSERT INTO entries"):
            raise Superseded("refused")
        return self._cursor.execute(sql, parameters)


def _second_writers(*, same_epoch: bool) -> Iterator[Attempt]:
    """Somebody who holds the run no more, or never did, appends after whoever does has appended."""
    for entries in (1, 3):
        yield lambda entries=entries: _second_writer(entries, same_epoch=same_epoch)  # type: ignore[misc]


def _second_writer(entries: int, *, same_epoch: bool) -> list[str]:
    trial, said = Trial(SUCCESS, Schedule()), Addition("warning", "said", {"visit": 0, "ordinal": 0})
    with closing(Journal(trial.path, durability="process-crash")) as journal:
        run = journal.create(LIFECYCLE, subject="one", data={"task": {}})
        first = claim(journal, run.run_id)
        if not same_epoch:
            first.abandon()
        # The same process once more, as a thread that lost count would; or the next one.
        second = Claim(journal, first.run, first.clock) if same_epoch else claim(journal, run.run_id)
        for _ in range(entries):
            second.append([said])
        if not same_epoch:
            # It has looked where the head is, and not whose the run is.
            first.run = journal.run(run.run_id)._replace(epoch=first.epoch)
        try:
            first.append([said])
        except (JournalUnavailable, Superseded):
            return list(broken_promises(journal, {LIFECYCLE.name: LIFECYCLE}))
        finally:
            second.abandon()
        return ["an append that was none of its business was not refused"]


def _hostile_slots() -> Iterator[Attempt]:
    """A model has made the slot's repository run its own programs, or be somewhere else."""
    for trick in ("fsmonitor", "filter", "pointer"):
        yield lambda trick=trick: _hostile_slot(trick)  # type: ignore[misc]


def _hostile_slot(trick: str) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="necrocode-hostile-") as folder:
        root = Path(folder)
        slot, elsewhere, mark = root / "slot" / "work", root / "elsewhere.git", root / "ran"
        write(slot, {"a.txt": "a"})
        git(slot, "init", "--quiet")
        git(slot, "add", "--all")
        git(slot, "commit", "--quiet", "-m", "a")
        program = f"sh -c 'touch {mark}; cat'"
        if trick == "filter":
            write(slot, {".gitattributes": "* filter=evil\n", "a.txt": "b"})
            git(slot, "config", "filter.evil.clean", program)
        else:
            git(slot, "config", "core.fsmonitor", f"touch {mark}; false")
        if trick == "pointer":
            (slot / ".git").rename(elsewhere)
            git(elsewhere, "config", "core.worktree", str(slot))
            (slot / ".git").write_text(f"gitdir: {elsewhere}\n")
        SlotFiles(slot, root / "slot" / "state", make_store(root / "store.git")).snapshot()
        return [f"{trick}: a program of the slot's was run"] if mark.exists() else []


def _tampered() -> Iterator[Attempt]:
    """The last entries of a run that ended are deleted, and the projection made to fit."""
    for entries in (1, 2, 5):
        yield lambda entries=entries: _cut_off(entries)  # type: ignore[misc]


def _cut_off(entries: int) -> list[str]:
    from necrocode.engine.audit import rebuild, verify
    from necrocode.engine.schema import TRIGGERS

    trial = Trial(SUCCESS, Schedule())
    found = trial.run().violations
    with Journal(trial.path, durability="process-crash") as journal:
        run = journal.runs()[0]
        with journal.database.write() as connection:
            for name in TRIGGERS:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            connection.exec_driver_sql(
                "DELETE FROM entries WHERE run_id = ? AND seq > ?", (run.run_id, run.head_seq - entries)
            )
            for statement in TRIGGERS.values():
                connection.exec_driver_sql(statement)
        rebuild(journal)
        report = verify(journal, lifecycles={LIFECYCLE.name: LIFECYCLE})
    words = {problem.problem for problem in report.problems}
    return found + ([] if any("missing" in said for said in words) else ["the missing tail was not found"])


CONTROLS: tuple[Control, ...] = (
    Control(
        "no intent before an effect",
        lambda: _deaths(*(("command.run", "during", 1, step) for step in (1, 2)), fates=("soon",)),
        breaking.no_intent,
    ),
    Control(
        "the outcome before the effect",
        lambda: _deaths(("git.push", "before", 1, 0)),
        breaking.outcome_first,
    ),
    Control(
        "recorded answers are bought again",
        lambda: _deaths(("llm.complete", "after", 2, 0), ("slot.snapshot", "before", 2, 0)),
        breaking.answers_unrecorded,
    ),
    Control(
        "a report's id changes with each attempt",
        lambda: _deaths(("registry.event", "during", 2, 0), ("registry.event", "after", 2, 0)),
        breaking.reports_under_new_ids,
    ),
    Control(
        "the outbox delivers under an old epoch",
        lambda: _deaths(("llm.complete", "before", 3, 0), ("git.push", "before", 1, 0)),
        breaking.parcels_of_their_time,
        BACK,
    ),
    Control(
        "no question before a push in doubt",
        lambda: _deaths(("git.push", "during", 1, 0), ("git.push", "after", 1, 0)),
        breaking.no_reconcile,
    ),
    Control(
        "no question before a push of partial work in doubt",
        lambda: _deaths(("git.push", "during", 1, 0), ("git.push", "after", 1, 0)),
        breaking.no_reconcile,
        FAILED_PARTIAL,
    ),
    Control(
        "appends are compared with neither the head nor the epoch",
        lambda: _paused(("llm.complete", "before", 2), ("slot.snapshot", "after", 2), ("command.run", "after", 1)),
        breaking.appends_unchecked,
    ),
    Control(
        "appends are not compared with the head",
        lambda: _second_writers(same_epoch=True),
        breaking.heads_uncompared,
    ),
    Control(
        "appends are not compared with the epoch",
        lambda: _second_writers(same_epoch=False),
        breaking.epochs_unchecked,
    ),
    Control(
        "the slot's own .git is trusted",
        _hostile_slots,
        breaking.own_git_trusted,
    ),
    Control(
        "no transaction around an append",
        # Between the head and the entry that it names.
        lambda: [
            Schedule((Upon("INSERT", "before", since=call),))
            for call in ("registry.status", "pool.allocate", "slot.lay", "llm.complete", "command.run", "git.push")
        ],
        breaking.no_transaction,
    ),
    Control("a batch without savepoints", _refused_in_a_batch, breaking.no_savepoints),
    Control("the chain is not checked at its tail", _tampered, breaking.tail_unchecked),
    Control(
        "the slot is recorded as given back before it is",
        lambda: _deaths(("pool.release", "before", 1, 0)),
        breaking.released_before_it_is,
    ),
    Control(
        "a slot is borrowed without a word",
        lambda: _deaths(("pool.allocate", "during", 1, 0), ("pool.allocate", "after", 1, 0)),
        breaking.borrowed_without_a_word,
        CANCELLED_DEAD,
    ),
    Control(
        "the snapshot is not restored",
        lambda: _deaths(("slot.snapshot", "before", 3, 0), fates=FATES),
        breaking.not_restored,
    ),
    Control(
        "restored although a command is adopted",
        lambda: _deaths(
            ("command.run", "during", 1, 2), ("command.run", "after", 1, 0), ("slot.snapshot", "before", 2, 0)
        ),
        breaking.restored_under_a_command,
    ),
    Control(
        "restored after a command was adopted",
        lambda: _deaths(("command.run", "during", 1, 2), ("command.run", "after", 1, 0)),
        breaking.restored_after_adoption,
    ),
    Control(
        "the loan is not checked",
        lambda: _deaths(("slot.snapshot", "before", 2, 0), ("llm.complete", "before", 2, 0)),
        breaking.loan_unchecked,
        STOLEN,
    ),
    Control("a parked run keeps its slot", lambda: [Schedule()], breaking.parked_with_its_slot, MUTE),
    Control(
        "cancelled after the push",
        lambda: _deaths(("artifacts.upload", "before", 1, 0), ("artifacts.upload", "after", 2, 0)),
        breaking.cancel_after_the_push,
        CANCELLED_DEAD,
    ),
    Control(
        "no claim before a command starts",
        _late_supervisor,
        adapters=Adapters(commands=breaking.UnclaimedCommands),
    ),
    Control(
        "the registry does not check the epoch",
        lambda: [
            Schedule(pause=Upon(f"registry.{call}", "before", 1), duplicates=twice)
            for call in ("status", "event")
            for twice in (False, True)
        ],
        scenario=CANCELLED_DEAD,
        adapters=Adapters(registry=breaking.CarelessRegistry),
    ),
    Control(
        "the pool knows no keys",
        lambda: _deaths(("pool.allocate", "during", 1, 0), ("pool.allocate", "after", 1, 0)),
        adapters=Adapters(pool=breaking.ForgetfulPool),
    ),
    Control(
        "the push's comparison is not atomic",
        _interloper,
        adapters=Adapters(workspaces=breaking.RacyPush),
    ),
    Control(
        "the push does not compare",
        lambda: _paused(("git.push", "before", 1)),
        adapters=Adapters(workspaces=breaking.BlindPush),
    ),
)
