"""JUnit files of a slot: written by test runners, read as what they are, whatever lies in their place."""

from __future__ import annotations

import hashlib
import itertools
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.commands.folder import folder_name
from necrocode.disk import file_errors
from necrocode.drafts import replace_file
from necrocode.states.junit import MAX_BYTES, Report, UnreadableReport, read
from necrocode.states.ports import CommandSpec, TakenReport

PYTEST = "PYTEST_ADDOPTS"
MAX_FILES = 50
"""Files that match a command's patterns and are read."""
MAX_LOOKED_AT = 20_000
"""Files of a slot that are looked at for them."""
_KEPT = "junit.xml"


class SlotJUnit:
    """The port :class:`~necrocode.states.ports.JUnitFiles`.

    ``commands_dir`` holds a folder for each command until it is forgotten: what pytest wrote is kept there, so that a
    runner that dies before it has recorded it finds it again. ``mask`` hides loaded credentials.
    """

    def __init__(self, commands_dir: Path, *, mask: Callable[[str], str] = lambda text: text) -> None:
        self._dir = commands_dir
        self._mask = mask

    def variables(self, spec: CommandSpec) -> Mapping[str, str]:
        """What makes every pytest in the command write a file of ours. See the port."""
        path = os.path.join(os.path.realpath(spec.slot_path), _name(spec))  # noqa: PTH118 -- with its links resolved
        option = f"--junitxml={shlex.quote(path)}"
        return {PYTEST: f"{spec.env[PYTEST]} {option}" if spec.env.get(PYTEST) else option}

    def stamps(self, slot_path: Path, patterns: Sequence[str]) -> Mapping[str, Any]:
        """Size and time (ns) of each file that matches. See the port."""
        with Beneath(slot_path) as folder:
            return dict(_matching(folder, patterns))

    def take(self, spec: CommandSpec, patterns: Sequence[str], stamps: Mapping[str, Any]) -> TakenReport:
        """Read what the command wrote. See the port."""
        contents: list[bytes] = []
        problems: list[str] = []
        with Beneath(spec.slot_path) as folder:
            own = self._own(folder, spec, problems)
            for path in [path for path, stamp in _matching(folder, patterns) if stamps.get(path) != stamp]:
                try:
                    contents.append(folder.read(path, limit=MAX_BYTES)[0])
                except Refused as error:
                    problems.append(self._mask(str(error)))
        # A file of the command's own says more than ours, if it was asked for.
        reports = [
            found for content in contents if (found := self._read(content, "a JUnit file", problems)) is not None
        ]
        if not reports and own is not None:
            found = self._read(own, "what pytest wrote", problems)
            return TakenReport(found, tuple(problems))
        return TakenReport(_sum(reports), tuple(problems))

    def _own(self, folder: Beneath, spec: CommandSpec, problems: list[str]) -> bytes | None:
        """What pytest wrote for us; it is moved out of the slot."""
        kept, name = self._dir / folder_name(spec.command_id) / _KEPT, _name(spec)
        with file_errors(self._dir, reason="supervisor"):
            # By its name in the list: a link that leads out would not be there to ``exists``.
            if not {name, f"{name}/"} & set(folder.names(".")):
                return kept.read_bytes() if kept.exists() else None
            try:
                content = folder.read(name, limit=MAX_BYTES)[0]
            except Refused as error:
                problems.append(self._mask(str(error)))
                content = None
            if content is not None and kept.parent.is_dir():
                replace_file(kept, content)
        try:
            folder.remove(name)
        except Refused as error:
            problems.append(self._mask(f"what pytest wrote cannot be removed: {error}"))
        return content

    def _read(self, content: bytes, what: str, problems: list[str]) -> Report | None:
        try:
            return read(content, mask=self._mask)
        except UnreadableReport as error:
            problems.append(self._mask(f"{what} {error}"))
            return None


def _name(spec: CommandSpec) -> str:
    return f".necrocode-junit-{hashlib.sha256(spec.command_id.encode()).hexdigest()[:16]}.xml"


def _matching(folder: Beneath, patterns: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """The first files that match, with size and time of last change; each once."""
    from pathspec import GitIgnoreSpec

    looked = 0
    found = set[str]()
    for pattern in patterns:
        spec = GitIgnoreSpec.from_lines([pattern])
        for path, name, descriptor in _files(folder, _start(pattern)):
            looked += 1
            if looked > MAX_LOOKED_AT or len(found) >= MAX_FILES:
                return
            if path in found or not spec.match_file(path):
                continue
            found.add(path)
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:  # somebody of the user's is at work in a folder of theirs
                continue
            yield path, [status.st_size, status.st_mtime_ns]


def _files(folder: Beneath, start: str) -> Iterator[tuple[str, str, int]]:
    """Path, name and the folder's descriptor of every regular file below ``start``; none, if that is no folder."""
    try:
        for place, _, names, descriptor in folder.walk(start):
            for name in names:
                yield f"{place}/{name}" if place else name, name, descriptor
    except Refused:
        return


def _start(pattern: str) -> str:
    """The folder that everything lies in that can match: large repositories have more files than are looked at."""
    *folders, _ = pattern.lstrip("/").split("/")
    plain = list(itertools.takewhile(lambda name: not set(name) & set("*?[\\"), folders))
    return "/".join(plain) or "."


def _sum(reports: Sequence[Report]) -> Report | None:
    if not reports:
        return None
    total = Report()
    for report in reports:
        total.absorb(report)
    return total
