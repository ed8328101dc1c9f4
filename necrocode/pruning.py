"""Pruning: what is kept of ended runs goes when its time is over, in an order that a death cannot spoil."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from necrocode.commands.whole import WholeOutputs
from necrocode.engine import outbox
from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.pruning import prune as prune_journal
from necrocode.engine.pruning import pruned as pruned_runs

if TYPE_CHECKING:
    from necrocode.artifacts.objects import ObjectArtifacts
    from necrocode.artifacts.stored import ListedStore, StoredArtifact
    from necrocode.engine.runs import RunRecord
    from necrocode.runner import Runner


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go."""

    runs: tuple[str, ...]
    slots: tuple[str, ...]
    artifacts: int
    artifact_bytes: int
    #: Why some of it stays: buckets that cannot be used now.
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def prune(runner: Runner, *, by: str, dry_run: bool = False, now: datetime | None = None) -> Pruned:
    """Remove ended runs older than ``retention_days``, and slots unused for ``slot_retention_days``.

    An artifact goes with its run. One of a type that ``artifact_retention_days`` names goes so many days after it was
    made, before its run or after it, but not before the run has ended and told of it. What a REST store has stays.

    With runs go the idempotency keys under which they spoke to the embedded services: those of a run that has ended and
    of which nothing waits in the outbox can't be sent again (see :func:`necrocode.embedded.forgetting.forget`). What a
    live or parked run might still send stays, however old it is, and so does what runs of other homes sent here.

    Runs and artifacts are judged by ``now``. The journal's entries go last: a death in between leaves a run that the
    next pruning finds again, and so does a bucket that cannot be used.
    """
    from necrocode.embedded.forgetting import forget

    now = now or datetime.now(UTC)
    ended = _ended(runner)
    due = [run for run in ended if run.finished is not None and run.finished <= now - _days(runner, None)]
    going = _Going(runner, now, frozenset(run.run_id for run in due), frozenset(pruned_runs(runner.journal)))
    going.look_here({run.run_id for run in ended})
    going.look_in_buckets(ended)
    if not dry_run:
        going.forget()
    run_ids = tuple(run.run_id for run in due if run.run_id not in going.held_back)
    size = sum(stored.artifact.size_bytes for stored, _ in going.artifacts)
    idle_for = timedelta(days=runner.config.slot_retention_days)
    if dry_run:
        return Pruned(run_ids, tuple(_idle(runner, idle_for)), len(going.artifacts), size, tuple(going.problems))
    _forget_snapshots(runner, run_ids)
    for run_id in run_ids:
        runner.home.log_of(run_id).unlink(missing_ok=True)
        WholeOutputs(runner.home.outputs).forget(run_id)
    forget(runner.services, run_ids, now - _days(runner, None))
    prune_journal(runner.journal, run_ids, by=by)
    with runner.pool() as pool:
        slots = tuple(pool.remove_idle(idle_for))
    return Pruned(run_ids, slots, len(going.artifacts), size, tuple(going.problems))


def _days(runner: Runner, type: str | None) -> timedelta:
    """How long artifacts of a type are kept; ``None``: how long runs are."""
    config = runner.config
    days = config.retention_days if type is None else config.artifact_retention_days.get(type, config.retention_days)
    return timedelta(days=days)


def _ended(runner: Runner) -> list[RunRecord]:
    """Ended runs of which nothing waits to be delivered."""
    held_back = {parcel.run_id for parcel in outbox.waiting(runner.journal)}
    return [run for run in runner.journal.runs("closed") if run.run_id not in held_back]


@dataclass
class _Going:
    """Collects the artifacts whose time is over."""

    runner: Runner
    now: datetime
    #: Runs that go.
    due: frozenset[str]
    #: Runs that went before.
    gone: frozenset[str]
    artifacts: list[tuple[StoredArtifact, ListedStore]] = field(default_factory=list)
    #: Runs that must stay, since something of theirs could not be looked at.
    held_back: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def look_here(self, ended: set[str]) -> None:
        """Those on this machine, of runs that have ended or are gone from the journal."""
        from necrocode.artifacts.local import LocalArtifacts

        store = LocalArtifacts(self.runner.services, self.runner.home.artifacts)
        ours = ended | self.gone
        for stored in store.list_artifacts():
            if stored.run_id in ours and self._is_over(stored):
                self.artifacts.append((stored, store))

    def look_in_buckets(self, ended: list[RunRecord]) -> None:
        """Those in buckets."""
        from necrocode.artifacts.listing import Buckets

        buckets = Buckets(self.runner)
        rules = self.runner.config.artifact_retention_days
        shortest = min((_days(self.runner, type) for type in rules), default=timedelta.max)
        runs_of: dict[ObjectArtifacts, list[str]] = defaultdict(list)
        for run in ended:
            old_enough = run.finished is not None and self.now - run.finished >= shortest
            if run.run_id not in self.due and not old_enough:
                continue
            try:
                bucket = buckets.of_run(run)
            except EnvironmentFault as error:
                self.held_back.add(run.run_id)
                self.problems.append(f"run {run.run_id}: {error}")
                continue
            if bucket is not None:
                runs_of[bucket].append(run.run_id)
        for bucket, run_ids in runs_of.items():
            self._look_in(bucket, run_ids)
        try:
            for run_id, bucket in buckets.of_gone_runs() if not self.problems else ():
                self._look_in(bucket, [run_id])
        except EnvironmentFault as error:
            self.problems.append(str(error))

    def _look_in(self, bucket: ObjectArtifacts, run_ids: list[str]) -> None:
        for done, run_id in enumerate(run_ids):
            try:
                found = bucket.list_artifacts(run_id=run_id)
            except EnvironmentFault as error:
                # it would say the same of the others
                self.held_back.update(run_ids[done:])
                self.problems.append(str(error))
                return
            self.artifacts += [(stored, bucket) for stored in found if self._is_over(stored)]

    def _is_over(self, stored: StoredArtifact) -> bool:
        type = stored.artifact.type
        if type not in self.runner.config.artifact_retention_days and stored.run_id not in self.gone:
            # it goes with its run
            return stored.run_id in self.due
        return stored.artifact.created_at <= self.now - _days(self.runner, type)

    def forget(self) -> None:
        """Remove them. A run whose artifacts cannot be removed is held back; ``artifacts`` are those that went."""
        going, self.artifacts = self.artifacts, []
        refused: set[ListedStore] = set()
        for stored, store in going:
            try:
                if store not in refused:
                    store.forget(stored)
                    self.artifacts.append((stored, store))
                    continue
            except EnvironmentFault as error:
                refused.add(store)
                self.problems.append(str(error))
            self.held_back.add(stored.run_id or "")


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
