"""Pruning: what is kept of ended runs goes when its time is over, in an order that a death cannot spoil."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from necrocode.engine import outbox
from necrocode.engine.pruning import prune as prune_journal

if TYPE_CHECKING:
    from necrocode.engine.runs import RunRecord
    from necrocode.runner import Runner


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go."""

    runs: tuple[str, ...]
    slots: tuple[str, ...]
    artifacts: int
    artifact_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def prune(runner: Runner, *, by: str, dry_run: bool = False) -> Pruned:
    """Remove ended runs older than ``retention_days``, and slots unused for ``slot_retention_days``.

    With them go the idempotency keys under which they spoke to the embedded services: those of a run that has ended and
    of which nothing waits in the outbox can't be sent again (see :func:`necrocode.embedded.forgetting.forget`). What a
    live or parked run might still send stays, however old it is, and so does what runs of other homes sent here.

    The journal's entries go last: a death in between leaves a run that the next pruning finds again.
    """
    from necrocode.artifacts.local import LocalArtifacts
    from necrocode.embedded.forgetting import forget

    runs = _due(runner)
    store = LocalArtifacts(runner.services, runner.home.artifacts)
    kept = [stored for run in runs for stored in store.list_artifacts(run_id=run.run_id)]
    size = sum(stored.artifact.size_bytes for stored in kept)
    idle_for = timedelta(days=runner.config.slot_retention_days)
    run_ids = tuple(run.run_id for run in runs)
    if dry_run:
        return Pruned(run_ids, tuple(_idle(runner, idle_for)), len(kept), size)
    for stored in kept:
        store.delete(stored.key)
    _forget_snapshots(runner, run_ids)
    for run_id in run_ids:
        runner.home.log_of(run_id).unlink(missing_ok=True)
    forget(runner.services, run_ids, datetime.now(UTC) - timedelta(days=runner.config.retention_days))
    prune_journal(runner.journal, run_ids, by=by)
    with runner.pool() as pool:
        slots = tuple(pool.remove_idle(idle_for))
    return Pruned(run_ids, slots, len(kept), size)


def _due(runner: Runner) -> list[RunRecord]:
    before = datetime.now(UTC) - timedelta(days=runner.config.retention_days)
    held_back = {parcel.run_id for parcel in outbox.waiting(runner.journal)}
    return [
        run
        for run in runner.journal.runs("closed")
        if run.finished_at is not None and run.finished_at <= before and run.run_id not in held_back
    ]


def _idle(runner: Runner, idle_for: timedelta) -> list[str]:
    before = datetime.now(UTC) - idle_for
    with runner.pool() as pool:
        return [slot.slot_id for slot in pool.list_slots() if slot.run_id is None and slot.updated_at <= before]


def _forget_snapshots(runner: Runner, run_ids: tuple[str, ...]) -> None:
    from necrocode.git.keeping import collect, forget_run, kept_runs
    from necrocode.git.layout import RepoPlace
    from necrocode.git.objects import ObjectStore

    for folder in sorted(runner.home.repos.iterdir()):
        place = RepoPlace(runner.home.root, folder.name)
        if not place.store.is_dir():
            continue
        store = ObjectStore(place.store)
        going = kept_runs(store) & set(run_ids)
        for run_id in going:
            forget_run(store, run_id)
        if going:
            collect(place)
