"""Replay: a recorded run is driven again against its own entries, and every new effect is an error."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from necrocode.engine.canonical import clean
from necrocode.engine.claim import Addition, Claim
from necrocode.engine.clock import EpochClock
from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome, Program
from necrocode.engine.effects import Json
from necrocode.engine.entry import Draft, Entry
from necrocode.engine.errors import LifecycleError, NonDeterminismError, StopTriggered, TaskError
from necrocode.engine.journal import INSERT_BLOB, INSERT_ENTRY, Journal
from necrocode.engine.runs import RunRecord, begin, follow
from necrocode.engine.stop import StopToken
from necrocode.engine.visit import load_visit

STOPS = ("cancel", "deadline")
"""Triggers that come from outside: the handler is left wherever it is."""


def replay(journal: Journal, program: Program, run_id: str) -> int:
    """Run every handler of a run again over what is recorded, as after a crash just before each transition.

    Each must ask for what is recorded and end with the trigger and the data of the recorded transition; returns how
    many did. What recovery and parking did is not repeated, nor a visit that recovery ended: they do it anew each time.
    Give it a program whose ports can do nothing, so that one that is touched is noticed.

    Raises :class:`NonDeterminismError` for a handler that does anything else now, :class:`LifecycleError` for a run or
    a state that the program cannot continue, and :class:`NoTransition` for a transition that it no longer declares.
    """
    visits = 0
    with (
        tempfile.TemporaryDirectory(prefix="necrocode-replay-") as folder,
        Journal(Path(folder, "past.db"), durability="process-crash", mask=journal.mask) as past,
    ):
        _copy_blobs(journal, past, run_id)
        run: RunRecord | None = None
        settings: Mapping[str, Json] = {}
        recovering = False
        for entry in journal.entries(run_id):
            payload = journal.payload(entry)
            if entry.kind == "created" or (entry.kind, entry.name) == ("warning", "settings_changed"):
                settings = payload["settings"]
            if entry.kind == "lease":
                recovering = entry.name == "claimed" and entry.epoch > 1
            if run is not None and entry.kind == "transition":
                if not recovering:
                    _visit(_Past(past, run, EpochClock()), program, settings, entry, payload)
                    visits += 1
                recovering = False
            _copy(entry, past)
            run = begin(entry, payload) if run is None else follow(run, entry, payload)
    return visits


class _Past(Claim):
    """A run as it was once. Nothing can be added to it."""

    def draft(self, addition: Addition) -> NoReturn:
        """Refuse what is not recorded."""
        raise NonDeterminismError(
            f"run {self.run.run_id}, {self.run.state}: the handler asks for {addition.kind} {addition.name!r} "
            f"({addition.key!r}), of which nothing is recorded in this visit"
        )

    def append(self, additions: Sequence[Addition | Draft], **_: object) -> NoReturn:
        """Refuse what is not recorded."""
        for addition in additions:
            assert isinstance(addition, Addition)
            self.draft(addition)
        raise AssertionError("nothing to append")


def _visit(
    past: _Past, program: Program, settings: Mapping[str, Json], made: Entry, payload: Mapping[str, Json]
) -> None:
    lifecycle, was, patch = program.lifecycle, past.run, payload["patch"]
    visit = load_visit(past.journal, was)
    if was.lifecycle != lifecycle.name:
        raise LifecycleError(f"run {was.run_id} belongs to the lifecycle {was.lifecycle!r}, not {lifecycle.name!r}")
    state, target = (lifecycle.mapped(was.version, name) for name in (was.state, made.state))
    past.run = was._replace(state=state)
    stop = StopToken()
    if made.name in STOPS:
        stop.stop(StopTriggered(made.name, patch["error"], stop_reason=patch["stop_reason"]))
    context = Context(past, lifecycle, visit, settings=settings, stop=stop, active=lambda: visit.active, pending=[])
    where = f"run {was.run_id}, {state}, entry {made.seq}"
    try:
        outcome = program.handlers[state](context)
        context.check_complete()
    except (TaskError, StopTriggered) as error:
        outcome = Outcome(error.trigger, {"stop_reason": error.stop_reason, "error": str(error)})
    told = clean(dict(outcome.data), past.journal.mask)
    if (outcome.trigger, told) != (made.name, patch):
        raise NonDeterminismError(
            f"{where}: recorded to end with {made.name!r} and {patch}, it ends with {outcome.trigger!r} and {told}"
        )
    row = lifecycle.choose(state, outcome.trigger, {**was.data, **told})
    if row.target != target:
        raise NonDeterminismError(f"{where}: {made.name!r} led to {target!r}, and leads to {row.target!r} now")


def _copy_blobs(journal: Journal, past: Journal, run_id: str) -> None:
    with journal.database.read() as source, past.database.write() as target:
        rows = source.exec_driver_sql("SELECT run_id, sha256, codec, size, data FROM blobs WHERE run_id = ?", (run_id,))
        for row in rows:
            target.exec_driver_sql(INSERT_BLOB, tuple(row))


def _copy(entry: Entry, past: Journal) -> None:
    with past.database.write() as connection:
        connection.exec_driver_sql(INSERT_ENTRY, entry.row)
