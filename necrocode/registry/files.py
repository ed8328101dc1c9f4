"""The older file-based task registry: a folder of task sets, event logs and locks that other tools share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.folders import sync_directory
from necrocode.errors import InvalidInput, NotFound
from necrocode.registry import taskset_file
from necrocode.registry.event_log import EventLog
from necrocode.registry.records import OURS, Claim, TaskEvent, TaskRecord, claim_in, ours_of
from necrocode.registry.spec_lock import SpecLock
from necrocode.registry.taskset_file import TasksetDocument, artifact_of, moment, ours, raw_artifact, stamp
from necrocode.registry.tasksets import (
    SetTask,
    TaskSet,
    TaskState,
    check_transition,
    is_free,
    problems,
    settled,
    state_of_merged,
)
from necrocode.states.ports import Artifact


class FileRegistry:
    """Implements the port :class:`necrocode.states.ports.TaskRegistry` on ``<root>/tasksets/<spec>/taskset.json`` and
    ``<root>/events/<spec>/events.jsonl``, each spec under ``<root>/locks/<spec>.lock``.

    Fields that it does not know are kept. What the format has no place for is below ``necrocode`` in the free-form
    ``metadata`` and ``details``: idempotency keys, epochs, claims. Epochs count per run, as in the embedded registry.
    Errors: :class:`~necrocode.engine.errors.Transient` (the lock is not free),
    :class:`~necrocode.registry.taskset_file.TasksetDamaged`, :class:`EnvironmentFault` (disk full, no rights).
    """

    def __init__(
        self,
        root: Path,
        *,
        lock_timeout: timedelta = timedelta(seconds=30),
        rotate_bytes: int = 16 * 1024 * 1024,
        on_done: Callable[[Sequence[SetTask]], None] = lambda _: None,
    ) -> None:
        """``on_done`` is told what became done, under the lock, after a death perhaps again; it never raises."""
        self._root = root
        self._lock_timeout = lock_timeout
        self._rotate_bytes = rotate_bytes
        self._on_done = on_done

    # --- what runs report ---

    def set_status(
        self,
        task_id: str,
        spec_name: str,
        status: str,
        *,
        metadata: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        """Give the task a state; the task is made if it is new. A task that becomes done frees those it blocked."""
        run_id = _run_id(metadata)
        with self._held(spec_name) as (document, save):
            task = document.raw_task(task_id)
            if task is not None and key in ours(task).get("keys", ()):
                if task["state"] == "done":
                    # Whoever reported it may have died before everything that follows from it was done.
                    self._on_done([each for each in document.tasks if each.id == task_id or _is_done_group(each)])
                return
            _fence(document, task_id, run_id, epoch)
            if task is None:
                task = document.add_task(task_id, task_id, at)
            known = ours(task)
            late = _is_late(task, known, run_id, status, at)
            known["keys"] = [*known.get("keys", ()), key]
            if not late:
                known |= {"run_id": run_id, "epoch": epoch, "at": at.isoformat(), "reported": dict(metadata)}
                if status != "running":
                    known.pop("claim", None)
                for field, fact in (("runner_id", "runner_id"), ("reserved_branch", "branch")):
                    if isinstance(metadata.get(fact), str):
                        task[field] = metadata[fact]
                task["state"] = status
                stamp(task, "updated_at", at)
            now_done = _settle(document, at)
            save()
            if status == "done" and not late:
                now_done.insert(0, task_id)
            self._on_done([each for each in document.tasks if each.id in now_done])

    def add_event(
        self,
        task_id: str,
        spec_name: str,
        event_type: str,
        *,
        data: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        """Keep one event."""
        events = self._events(spec_name)
        with self._held(spec_name) as (document, save):
            if any(event.key == key for _, event in events.read(key)):
                events.sync()
                return
            _fence(document, task_id, _run_id(data), epoch)
            save()
            events.append(spec_name, task_id, TaskEvent(key, event_type, data, epoch, at))

    def add_artifact(self, task_id: str, spec_name: str, artifact: Artifact, *, key: str, epoch: int) -> None:
        """Keep one artifact's description; the task is made if it is new."""
        with self._held(spec_name) as (document, save):
            task = document.raw_task(task_id)
            known = (task.get("artifacts") or []) if task is not None else []
            if any(ours_of(each.get("metadata")).get("key") == key for each in known):
                return
            _fence(document, task_id, _run_id(artifact.metadata), epoch)
            if task is None:
                task = document.add_task(task_id, task_id, artifact.created_at)
            task["artifacts"] = [*known, raw_artifact(artifact, key)]
            save()

    # --- looking ---

    def specs(self) -> list[str]:
        """The names of the task sets, sorted."""
        folder = self._root / "tasksets"
        if not folder.is_dir():
            return []
        return sorted(unquote(path.parent.name) for path in folder.glob("*/taskset.json"))

    def task_set(self, spec_name: str) -> TaskSet:
        """A task set as it is now. Raises :class:`NotFound`."""
        document = self._read(spec_name)
        if not document.before:
            raise NotFound(f"the registry in {self._root} has no task set {spec_name!r}")
        return _task_set(document, spec_name)

    def get_task(self, task_id: str, spec_name: str | None = None) -> TaskRecord:
        """The task; without ``spec_name``, the one of that id which changed last. Raises :class:`NotFound`."""
        found = []
        for spec in self.specs() if spec_name is None else [spec_name]:
            task = self._read(spec).raw_task(task_id)
            if task is not None:
                metadata = {name: value for name, value in (task.get("metadata") or {}).items() if name != OURS}
                reported = ours_of(task.get("metadata")).get("reported") or {}
                at = moment(task.get("updated_at"))
                found.append(TaskRecord(task_id, spec, task["state"], {**metadata, **reported}, at))
        if not found:
            raise NotFound(f"the registry knows no task {task_id!r}")
        return max(found, key=lambda each: each.updated_at or datetime.min.replace(tzinfo=UTC))

    def list_events(self, task_id: str, spec_name: str) -> list[TaskEvent]:
        """The task's events in the order in which they came; those of other tools have no key, and epoch 0."""
        with _faults(self._root):
            return [event for of, event in self._events(spec_name).read() if of == task_id]

    def list_artifacts(self, task_id: str, spec_name: str) -> list[Artifact]:
        """The task's artifacts in the order in which they came."""
        task = self._read(spec_name).raw_task(task_id)
        return [artifact_of(raw) for raw in (task.get("artifacts") or [])] if task is not None else []

    def health_check(self) -> None:
        """Raises if a task set cannot be read."""
        for spec in self.specs():
            self._read(spec)

    # --- changing task sets ---

    def merge(self, task_set: TaskSet, check: Callable[[TaskSet], None] = lambda _: None) -> TaskSet:
        """Take in a task set; returns it as it is then, with the tasks that were there and are not in what came.

        A task that is there already keeps its state, unless it comes in as done; nobody is interrupted. Raises
        :class:`InvalidInput` if the whole would be no task set, and what ``check`` raises of it; nothing is written.
        """
        now = datetime.now(UTC)
        with self._held(task_set.spec_name) as (document, save):
            document.raw["metadata"] = {**(document.raw.get("metadata") or {}), **task_set.metadata}
            for task in task_set.tasks:
                raw = document.raw_task(task.id)
                known = raw is not None
                raw = raw if raw is not None else document.add_task(task.id, task.title, now)
                before = dict(raw)
                raw |= {
                    "title": task.title,
                    "description": task.description,
                    "state": state_of_merged(raw["state"] if known else None, task),
                    "dependencies": list(task.dependencies),
                    "required_skill": task.required_skill,
                    "priority": task.priority,
                    "is_optional": task.is_optional,
                    "metadata": {**(raw.get("metadata") or {}), **task.metadata, "is_group": task.is_group},
                }
                if raw != before:
                    stamp(raw, "updated_at", now)
            found = problems(document.tasks)
            if found:
                raise InvalidInput(f"the task set {task_set.spec_name!r}", found)
            _settle(document, now)
            check(_task_set(document, task_set.spec_name))
            save()
            return _task_set(document, task_set.spec_name)

    def move(self, spec_name: str, task_id: str, to: TaskState) -> None:
        """Give a task another state by hand. Raises :class:`NotFound` and
        :class:`~necrocode.registry.tasksets.IllegalTransition`."""
        with self._held(spec_name) as (document, save):
            raw, task = _found(document, task_id)
            done = {each.id for each in document.tasks if each.state == "done"}
            check_transition(task.id, task.state, to, [each for each in task.dependencies if each not in done])
            raw["state"] = to
            ours(raw).pop("claim", None)
            stamp(raw, "updated_at", datetime.now(UTC))
            now_done = _settle(document, datetime.now(UTC))
            save()
            if to == "done":
                now_done.append(task_id)
            self._on_done([each for each in document.tasks if each.id in now_done])

    # --- taking tasks ---

    def claim_of(self, task: SetTask) -> Claim | None:
        """Who took a running task, if that is known."""
        return claim_in(task.metadata)

    def claim(self, spec_name: str, task_id: str, mine: Claim, *, before: Claim | None = None) -> bool:
        """Take a ready task, or, with ``before``, one that is running and still claimed by that; False if it is not so
        any more: somebody else was faster.
        """
        with self._held(spec_name) as (document, save):
            raw, task = _found(document, task_id)
            by_id = {each.id: each for each in document.tasks}
            free = task.state == "ready" and is_free(task, by_id) if before is None else task.state == "running"
            if not free or (before is not None and self.claim_of(task) != before):
                return False
            raw["state"] = "running"
            ours(raw)["claim"] = replace(mine, at=(before or mine).at).to_json()
            stamp(raw, "updated_at", datetime.now(UTC))
            save()
            return True

    def close(self) -> None:
        """Nothing stays open between two calls."""

    # --- files ---

    def _path(self, spec_name: str) -> Path:
        return self._root / "tasksets" / _folder(spec_name) / "taskset.json"

    def _events(self, spec_name: str) -> EventLog:
        return EventLog(self._root / "events" / _folder(spec_name), rotate_bytes=self._rotate_bytes)

    def _read(self, spec_name: str) -> TasksetDocument:
        with _faults(self._root):
            return taskset_file.read(self._path(spec_name), spec_name)

    @contextmanager
    def _held(self, spec_name: str) -> Iterator[tuple[TasksetDocument, Callable[[], None]]]:
        """The task set's document under its lock, and what saves it."""
        lock = SpecLock(self._root / "locks" / f"{_folder(spec_name)}.lock", timeout=self._lock_timeout)
        with _faults(self._root), lock.held() as confirm:
            path = self._path(spec_name)
            document = taskset_file.read(path, spec_name)
            if document.before:
                # It may have been replaced by a process that died before it was on disk.
                sync_directory(path.parent)

            def save() -> None:
                confirm()
                document.save()

            yield document, save


@contextmanager
def _faults(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or root
        raise EnvironmentFault(
            f"the task registry in {root} cannot be used: {error.strerror or error}: {where}",
            stop_reason="registry_unusable",
        ) from error


def _folder(spec_name: str) -> str:
    """A spec's name as one folder's: as it is, but for what would lead elsewhere."""
    quoted = "".join(quote(letter, safe="") if letter in "/%\0" else letter for letter in spec_name)
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted or "%"


def _task_set(document: TasksetDocument, spec_name: str) -> TaskSet:
    version = document.raw["version"]
    return TaskSet(
        spec_name,
        tuple(document.tasks),
        document.raw.get("metadata") or {},
        version if isinstance(version, int) else 1,
    )


def _settle(document: TasksetDocument, at: datetime) -> list[str]:
    """Let the states follow from those that changed; returns the ids of tasks that became done by it."""
    before = document.tasks
    now_done = []
    for raw, old, new in zip(document.raw["tasks"], before, settled(before), strict=True):
        if new.state != old.state:
            raw["state"] = new.state
            stamp(raw, "updated_at", at)
            if new.state == "done":
                now_done.append(new.id)
    return now_done


def _fence(document: TasksetDocument, task_id: str, run_id: str, epoch: int) -> None:
    """Refuse an epoch older than one seen of this run, and remember a newer one."""
    seen = ours(document.raw).setdefault("fences", {}).setdefault(task_id, {})
    if epoch < seen.get(run_id, epoch):
        raise EnvironmentFault(
            f"the registry has seen a newer epoch than {epoch} of task {task_id!r}: another process drives the run now",
            stop_reason="superseded",
        )
    seen[run_id] = epoch


def _found(document: TasksetDocument, task_id: str) -> tuple[dict[str, Any], SetTask]:
    for raw, task in zip(document.raw["tasks"], document.tasks, strict=True):
        if task.id == task_id:
            return raw, task
    raise NotFound(f"the task set {document.raw.get('spec_name')!r} has no task {task_id!r}")


def _run_id(data: Mapping[str, Any]) -> str:
    run_id = data.get("run_id")
    return run_id if isinstance(run_id, str) else ""


def _is_late(task: Mapping[str, Any], known: Mapping[str, Any], run_id: str, status: str, at: datetime) -> bool:
    # within a run by its meaning, not by its time: a clock may have been set back between two epochs
    if known.get("run_id") == run_id:
        return status == "running" and task["state"] in ("done", "failed")
    last = moment(known.get("at"))
    return last is not None and at < last


def _is_done_group(task: SetTask) -> bool:
    return task.is_group and task.state == "done"
