"""Whole outputs: what a command wrote beyond what its result shows, kept until it has become an artifact."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from necrocode.disk import file_errors
from necrocode.drafts import replace_file

#: Bytes of one command's output, from its beginning.
COMMAND_BYTES = 16 * 1024 * 1024
#: Bytes of all outputs of a run; later ones are not kept.
RUN_BYTES = 256 * 1024 * 1024


class WholeOutputs:
    """A folder with a folder for each run, with a file for each command. ``mask`` hides loaded secrets, ``run_bytes``
    bounds what is kept of a run.
    """

    def __init__(self, folder: Path, mask: Callable[[str], str] = str, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._mask = mask
        self._run_bytes = run_bytes

    def keep(self, run_id: str, command_id: str, source: Path) -> str:
        """Keep what is in ``source``, masked; returns its name, empty if there is nothing, or no more room for it.

        Doing it again changes nothing. Raises what :func:`~necrocode.disk.file_errors` makes of a disk's trouble.
        """
        name = f"{hashlib.sha256(command_id.encode()).hexdigest()[:24]}.txt"
        folder = self._folder / run_id
        with file_errors(self._folder, reason="supervisor"):
            try:
                content = source.read_bytes()
            except FileNotFoundError:
                return name if (folder / name).exists() else ""
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            used = sum(file.stat().st_size for file in folder.iterdir() if file.name != name)
            if used + len(content) > self._run_bytes:
                return ""
            text = self._mask(content.decode("utf-8", "surrogateescape"))
            replace_file(folder / name, text.encode("utf-8", "surrogateescape"))
        return name

    def read(self, run_id: str, name: str) -> bytes | None:
        """A kept output; ``None`` if it is not there (any more)."""
        try:
            return (self._folder / run_id / name).read_bytes()
        except FileNotFoundError:
            return None

    def forget(self, run_id: str) -> None:
        """Remove every output of a run."""
        shutil.rmtree(self._folder / run_id, ignore_errors=True)
