"""Commands under test: real processes, forked from one that has imported everything already."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.crash.nursery import Birth, nursery


class Command(Protocol):
    """What tests need of a command that they started; a :class:`subprocess.Popen` of text is one."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> Any:
        """The exit code (minus the signal that killed it); ``None`` as long as nobody saw it end."""

    def poll(self) -> int | None:
        """The exit code if it has ended."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it has not ended."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""

    def communicate(self, *, timeout: float | None = None) -> tuple[Any, Any]:
        """Wait for its end: what it said on stdout, and on stderr."""


class Forked:
    """A command whose interpreter was there already: what a new one would spend on imports is most of its life.

    A ``mortal`` one's arguments are those of :mod:`tests.crash.mortal`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        mortal: bool = False,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._said = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - closed once they were read
        out, err = (Path(f"/proc/{os.getpid()}/fd/{file.fileno()}") for file in self._said)
        birth = Birth(arguments, environment, folder, out, err, mortal=mortal, namespaces=namespaces)
        self._process = nursery().start(birth)
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        self.returncode = self._process.poll()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def said(self) -> tuple[str, str]:
        """What it has said so far on stdout, and on stderr."""
        out, err = (os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in self._said)
        return out, err

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        self.returncode = self._process.wait(timeout)
        out, err = map(_read, self._said)
        return out, err


def _read(file: Any) -> str:
    if file.closed:
        return ""
    with file:
        file.seek(0)
        return str(file.read().decode("utf-8"))
