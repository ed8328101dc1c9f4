"""A stage as text: its databases as SQL, every other file as it is, and all of it laid out again."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

DATABASES = ("journal", "services")
FILES = "files.json"

_LEFT_OUT = ("hooks", "seed", "locks", "logs")
"""Folders that nothing depends on: git's samples, what the remote was made from, locks that nobody holds, logs."""
_FANOUT = re.compile(r"/objects/[0-9a-f]{2}\Z")


def pack(root: Path, to: Path, foreign: Mapping[str, str]) -> None:
    """Write the stage at ``root`` to the folder ``to``; ``foreign``: patterns of what names the recording machine, and
    what stands there instead wherever nothing is hashed.
    """
    to.mkdir(parents=True)
    for name in DATABASES:
        with closing(sqlite3.connect(root / "home" / f"{name}.db")) as connection:
            lines = [_translated(line, foreign) for line in connection.iterdump()]
        (to / f"{name}.sql").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(dict(_files(root)), indent=0, ensure_ascii=False)
    (to / FILES).write_text(_translated(text, foreign) + "\n", encoding="utf-8")


def unpack(folder: Path, root: Path) -> None:
    """Lay out below ``root`` what :func:`pack` wrote to ``folder``."""
    files: dict[str, list[str]] = json.loads((folder / FILES).read_text(encoding="utf-8"))
    for name, (kind, *rest) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "folder":
            path.mkdir(exist_ok=True)
        elif kind == "link":
            path.symlink_to(rest[0])
        else:
            mode, content = rest
            path.write_bytes(content.encode() if kind == "text" else base64.b85decode(content))
            path.chmod(int(mode, 8))
    for name in DATABASES:
        with closing(sqlite3.connect(root / "home" / f"{name}.db")) as connection:
            connection.executescript((folder / f"{name}.sql").read_text(encoding="utf-8"))


def _files(root: Path) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if any(part in _LEFT_OUT for part in name.parts) or path.suffix in (".db", ".db-wal", ".db-shm"):
            continue
        if path.is_symlink():
            yield str(name), ["link", str(path.readlink())]
        elif path.is_dir():
            if not any(path.iterdir()) and not _FANOUT.search(str(path)):
                yield str(name), ["folder"]
        elif path.is_file():
            content, mode = path.read_bytes(), oct(path.stat().st_mode & 0o777)[2:]
            try:
                yield str(name), ["text", mode, content.decode()]
            except UnicodeDecodeError:
                yield str(name), ["bytes", mode, base64.b85encode(content).decode()]


def _translated(text: str, foreign: Mapping[str, str]) -> str:
    if text.startswith('INSERT INTO "entries"'):
        # Hashed: it says what it says.
        return text
    for word, instead in foreign.items():
        text = re.sub(word, instead, text)
    return text
