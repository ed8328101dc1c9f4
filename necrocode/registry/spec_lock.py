"""The lock of a task set in files: a file that is there while somebody changes the set, as other tools make it, too."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from necrocode.engine.errors import Transient
from necrocode.engine.identity import ProcessIdentity

_POLL = timedelta(milliseconds=50)


class SpecLock:
    """The lock file at ``path``. It names its holder, so that one which a dead process left is taken away at once.

    A lock whose holder cannot be judged from here (another host, another tool) counts as left behind when it is older
    than ``stale_after``. Lock files are judged and made under an flock of a file beside them: without it, two that find
    the same stale lock could each take it away, the second of them the first one's new lock.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout: timedelta = timedelta(seconds=30),
        stale_after: timedelta = timedelta(minutes=5),
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._stale_after = stale_after

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Hold the lock; what is given raises :class:`Transient` once somebody took it away, to be asked before a
        change. Raises :class:`Transient` if it cannot be had in time, and ``OSError``.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        token = uuid.uuid4().hex
        deadline = time.monotonic() + self._timeout.total_seconds()
        while not self._take(token):
            if time.monotonic() >= deadline:
                raise self._busy()
            time.sleep(_POLL.total_seconds())

        def confirm() -> None:
            if self._token() != token:
                raise Transient(
                    f"the lock {self._path} was taken away by somebody who thought its holder dead",
                    stop_reason="registry_locked",
                )

        try:
            yield confirm
        finally:
            if self._token() == token:
                self._path.unlink(missing_ok=True)

    def _take(self, token: str) -> bool:
        with _judging(self._path.with_name(".judging")) as alone:
            if not alone:
                return False
            if self._is_stale():
                self._path.unlink(missing_ok=True)
            # Written whole and then linked: whoever finds it can read who holds it.
            draft = self._path.with_name(".draft")
            draft.unlink(missing_ok=True)
            said = {
                "holder": ProcessIdentity.current().to_json(),
                "token": token,
                "since": datetime.now(UTC).isoformat(),
            }
            draft.write_text(json.dumps(said) + "\n", encoding="utf-8")
            try:
                os.link(draft, self._path)
            except FileExistsError:
                return False
            finally:
                draft.unlink()
            return True

    def _is_stale(self) -> bool:
        try:
            age = time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return False
        holder = self._holder()
        alive = holder.is_alive() if holder is not None else None
        return not alive if alive is not None else age > self._stale_after.total_seconds()

    def _said(self) -> dict[str, object]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            said = json.loads(self._path.read_bytes())
            if isinstance(said, dict):
                return said
        return {}

    def _token(self) -> object:
        return self._said().get("token")

    def _holder(self) -> ProcessIdentity | None:
        holder = self._said().get("holder")
        try:
            return ProcessIdentity.from_json(holder) if isinstance(holder, dict) else None
        except (KeyError, ValueError, TypeError):
            return None

    def _busy(self) -> Transient:
        holder = self._holder()
        return Transient(
            f"the lock {self._path} was not free within {self._timeout.total_seconds():g} s: it is held by "
            f"{holder or 'another tool'}; if that is gone, remove the file",
            stop_reason="registry_locked",
        )


@contextmanager
def _judging(path: Path) -> Iterator[bool]:
    """Whether this process may judge and make locks now."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
