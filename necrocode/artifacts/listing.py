"""Which artifacts there are: on this machine, and in the buckets that its runs kept them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from necrocode.artifacts.local import LocalArtifacts
from necrocode.artifacts.stored import ListedStore, StoredArtifact, Version, numbered
from necrocode.config import BUCKETS
from necrocode.engine.errors import RunNotFound
from necrocode.engine.pruning import pruned
from necrocode.wiring import bucket_of

if TYPE_CHECKING:
    from necrocode.artifacts.objects import ObjectArtifacts
    from necrocode.engine.runs import RunRecord
    from necrocode.runner import Runner


class Buckets:
    """The buckets of a home's runs, each opened once."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._known: dict[str, ObjectArtifacts | None] = {}

    def of_run(self, run: RunRecord) -> ObjectArtifacts | None:
        """Where the run's artifacts are; ``None`` if that is no bucket. Raises :class:`EnvironmentFault`."""
        config = self._runner.config_of(run.run_id)
        url = config.artifact_store_url
        if url is None or not url.startswith(BUCKETS):
            return None
        if url not in self._known:
            self._known[url] = bucket_of(config, self._runner.credentials_of(run.run_id))
        return self._known[url]

    def of_gone_runs(self) -> Iterator[tuple[str, ObjectArtifacts]]:
        """Runs of this home that were pruned from the journal, and may have artifacts in the bucket that is configured
        now.
        """
        bucket = bucket_of(self._runner.config, self._runner.credentials)
        gone = pruned(self._runner.journal) if bucket is not None else set()
        if bucket is not None and gone:
            for run_id in sorted(gone & bucket.runs()):
                yield run_id, bucket


def list_versions(
    runner: Runner, *, run: str | None = None, task: str | None = None, type: str | None = None
) -> list[Version]:
    """Artifacts, oldest first: of a ``run`` (its id, or as much of it as is unique), of a ``task`` (``spec/id``), of a
    ``type``. What a REST store has is not among them: it cannot be asked.

    Raises :class:`RunNotFound`, and :class:`EnvironmentFault` for a bucket that cannot be read.
    """
    local = LocalArtifacts(runner.services, runner.home.artifacts)
    here = local.list_artifacts()
    run_id, runs, gone = _wanted(runner, here, run, task)
    ours = {each.run_id: _task_of(each) for each in runs}
    buckets = Buckets(runner)
    found: list[tuple[StoredArtifact, ListedStore]] = []
    for each in runs:
        bucket = buckets.of_run(each)
        if bucket is not None:
            found += [(stored, bucket) for stored in bucket.list_artifacts(run_id=each.run_id)]
    for gone_run, bucket in buckets.of_gone_runs() if gone else ():
        found += [(stored, bucket) for stored in bucket.list_artifacts(run_id=gone_run)]
    there = {_identity(stored) for stored, _ in found}
    # what was kept here until its bucket was back is there by now
    found += [(stored, local) for stored in here if _identity(stored) not in there]

    return [
        version
        for version in numbered(found)
        if (type is None or version.stored.artifact.type == type)
        and (run_id is None or version.stored.run_id == run_id)
        and (task is None or task in (version.stored.task, ours.get(version.stored.run_id or "")))
    ]


def _wanted(
    runner: Runner, here: Sequence[StoredArtifact], run: str | None, task: str | None
) -> tuple[str | None, list[RunRecord], bool]:
    """The run that is asked for; the runs that have versions of its artifacts (or of the task's, or all); whether runs
    that are gone may have, too.
    """
    runs = runner.journal.runs()
    if run is None:
        return None, [each for each in runs if task is None or _task_of(each) == task], True
    try:
        record = runner.journal.find(run)
    except RunNotFound:
        if run in pruned(runner.journal) or any(stored.run_id == run for stored in here):
            return run, [], True
        raise
    return record.run_id, [each for each in runs if _task_of(each) == _task_of(record)], False


def _task_of(run: RunRecord) -> str:
    task = run.data.get("task", {})
    return f"{task.get('spec_name')}/{task.get('task_id')}"


def _identity(stored: StoredArtifact) -> tuple[object, ...]:
    artifact = stored.artifact
    return stored.run_id, artifact.type, stored.name, artifact.sha256, artifact.created_at
