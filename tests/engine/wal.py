"""Counts the commits in a write-ahead log: at synchronous=FULL each is one sync, exactly."""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER, _FRAME = 32, 24


def commits(database: Path) -> int:
    """How many transactions stand in the log of ``database`` (SQLite file format, 4.1 and 4.2)."""
    log = database.with_name(database.name + "-wal")
    content = log.read_bytes() if log.exists() else b""
    if len(content) < _HEADER:
        return 0
    page_size, salt = struct.unpack(">8xI4x8s", content[: _HEADER - 8])
    found = 0
    for at in range(_HEADER, len(content) - _FRAME - page_size + 1, _FRAME + page_size):
        size_after_commit, frame_salt = struct.unpack(">4xI8s", content[at : at + 16])
        if frame_salt != salt:
            break
        found += size_after_commit != 0
    return found
