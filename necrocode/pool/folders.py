"""Users' own folders as slots: each lent to one run at a time, by its real path."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from necrocode.disk import file_errors
from necrocode.drafts import replace_file
from necrocode.engine.database import file_lock
from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.engine.folders import make_folder
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.stop import StopToken
from necrocode.git import folder
from necrocode.git.layout import folder_state
from necrocode.pool.holder import Epoch, refuse_older, this_process
from necrocode.states.ports import SlotAllocation

_LOCK_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Record:
    """What stands in a folder's lock file; the last loan is kept after its end, for its generation."""

    path: str
    generation: int
    run_id: str
    key: str
    holder: dict[str, Any]
    ended: bool


class LocalFolders:
    """Lends the folder that a task names (:class:`necrocode.states.ports.RepoPool`, the folder's path being the URL).

    ``locks`` is the folder for locks in the home. A loan ends by its release, or with its holder's death as soon as
    somebody else asks. ``save_dirty``: take a checkout with uncommitted changes too; like everything in it they are
    saved before the run and back after it. ``epoch``: the one in which this process drives its run.
    """

    def __init__(
        self,
        locks: Path,
        *,
        save_dirty: bool = False,
        poll: timedelta = timedelta(milliseconds=250),
        epoch: Epoch = lambda: None,
    ) -> None:
        self._locks = locks.resolve()
        self._save_dirty = save_dirty
        self._poll = poll
        self._epoch = epoch

    def allocate(self, repo_url: str, *, run_id: str, key: str, timeout: timedelta, stop: StopToken) -> SlotAllocation:
        """See :class:`necrocode.states.ports.RepoPool`.

        :class:`TaskError`: ``slot_unusable`` (no git checkout), ``slot_dirty`` (uncommitted changes, a merge under way,
        another run's unfinished work), ``unsupported_repo``, ``repo_empty``.
        """
        path = Path(repo_url).expanduser().resolve()
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            stop.check()
            loan = self._try(path, run_id, key)
            if loan is not None:
                return loan
            left = deadline - time.monotonic()
            if left <= 0:
                raise Transient(f"{path} is in use by another run", stop_reason="no_slot")
            stop.wait(min(self._poll, timedelta(seconds=left)))

    def release(self, loan: SlotAllocation, *, run_id: str, key: str) -> None:
        """See :class:`necrocode.states.ports.RepoPool`. The files are :meth:`Workspace.give_back`'s to put right."""
        del key
        with self._record(loan.slot_path) as (file, record):
            if record is not None and _is(record, loan, run_id):
                refuse_older(self._epoch(), record.holder, loan.slot_id)
                _write(file, replace(record, ended=True))

    def holds(self, loan: SlotAllocation, *, run_id: str) -> bool:
        """See :class:`necrocode.states.ports.RepoPool`. The asking process is the loan's holder from then on."""
        with self._record(loan.slot_path) as (file, record):
            if record is None or not _is(record, loan, run_id):
                return False
            self._adopt(file, record)
            return True

    def renew(self, loan: SlotAllocation, *, run_id: str) -> None:
        """See :class:`necrocode.states.ports.RepoPool`."""
        self.holds(loan, run_id=run_id)

    def _try(self, path: Path, run_id: str, key: str) -> SlotAllocation | None:
        with self._record(path) as (file, record):
            live = record is not None and not record.ended
            if record is not None and live and record.key == key and record.run_id == run_id:
                self._adopt(file, record)
                return SlotAllocation(_name(path), path, record.generation, "folder")
            if record is not None and live and record.run_id != run_id:
                alive = ProcessIdentity.from_json(record.holder).is_alive()
                if alive or alive is None:
                    return None
            self._check(path, run_id)
            generation = 1 if record is None else record.generation + 1
            _write(file, _Record(str(path), generation, run_id, key, this_process(self._epoch()), ended=False))
            return SlotAllocation(_name(path), path, generation, "folder")

    def _adopt(self, file: Path, record: _Record) -> None:
        """Be the loan's holder from now on."""
        epoch = self._epoch()
        refuse_older(epoch, record.holder, _name(Path(record.path)))
        me = this_process(epoch)
        if record.holder != me:
            _write(file, replace(record, holder=me))

    def _check(self, path: Path, run_id: str) -> None:
        state = folder_state(self._locks.parent, path)
        saved = folder.load_saved(state)
        if saved is not None and saved.run_id != run_id:
            raise TaskError(
                f"{path} still holds the unfinished work of run {saved.run_id}: resume or cancel that one first, which "
                "puts the folder back as it was",
                stop_reason="slot_dirty",
            )
        if saved is None:
            checkout = folder.look_at(path)
            if not self._save_dirty:
                folder.refuse_dirty(checkout)
            folder.fix_origin(state, run_id, checkout.origin)

    @contextmanager
    def _record(self, path: Path) -> Iterator[tuple[Path, _Record | None]]:
        file = self._locks / f"{_name(path)}.json"
        with file_errors(self._locks, reason="environment"):
            make_folder(self._locks)
            with file_lock(file.with_suffix(".lock"), _LOCK_TIMEOUT):
                yield file, _read(file)


def _is(record: _Record, loan: SlotAllocation, run_id: str) -> bool:
    return not record.ended and record.generation == loan.generation and record.run_id == run_id


def _name(path: Path) -> str:
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name).strip("-.")[:40] or "folder"
    return f"folder-{slug}-{hashlib.sha256(bytes(path)).hexdigest()[:12]}"


def _read(file: Path) -> _Record | None:
    try:
        return _Record(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise EnvironmentFault(f"{file} is damaged: {error}", stop_reason="slot_damaged") from error


def _write(file: Path, record: _Record) -> None:
    replace_file(file, json.dumps(asdict(record)).encode("utf-8"))
