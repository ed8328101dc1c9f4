"""Promises: what the engine guarantees of every journal, whatever the lifecycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from necrocode.engine.audit import rebuild, verify
from necrocode.engine.driver import Program
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord


def broken_promises(journal: Journal, programs: Mapping[str, Program | Lifecycle]) -> Iterator[str]:
    """What the engine promises of every journal at any moment, and this one does not keep: nothing, one hopes.

    Every transition declared and its guard held; nothing after the end; the chain whole; the projection what the
    entries say.
    """
    tables = {name: each.lifecycle if isinstance(each, Program) else each for name, each in programs.items()}
    for problem in verify(journal, lifecycles=tables).problems:
        yield f"{problem.run_id} {problem.seq}: {problem.problem}"
    differing = rebuild(journal)
    if differing:
        yield f"{differing} rows of the projection differ from the entries"
    for run in journal.runs():
        yield from _broken_ends(journal, run, tables.get(run.lifecycle))


def _broken_ends(journal: Journal, run: RunRecord, lifecycle: Lifecycle | None) -> Iterator[str]:
    entries = list(journal.entries(run.run_id))
    ends = [entry for entry in entries if entry.kind == "closed"]
    if len(ends) > 1 or (ends and ends[0] is not entries[-1]):
        yield f"{run.run_id}: something follows its end"
    if lifecycle is not None and (run.state in lifecycle.terminal) != bool(ends):
        yield f"{run.run_id}: it is in {run.state!r} and has {len(ends)} ends"
    epochs = [entry.epoch for entry in entries]
    if epochs != sorted(epochs):
        yield f"{run.run_id}: an older epoch appended after a newer one"
