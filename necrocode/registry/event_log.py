"""The event log of a task set in files: a JSON object a line, appended, and rotated when it has grown."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from necrocode.engine.folders import sync_directory
from necrocode.registry.records import OURS, TaskEvent, ours_of
from necrocode.registry.taskset_file import moment

log = logging.getLogger("necrocode.registry")

_ROTATED = re.compile(r"events\.(\d+)\.jsonl\Z")


class EventLog:
    """``events.jsonl`` in a folder, with what was rotated away as ``events.1.jsonl`` (the oldest) and so on.

    To be written under the task set's lock. Nothing in it is ever changed or removed: a line that a death or another
    tool left torn stays, and is passed over. Every method raises ``OSError``.
    """

    def __init__(self, folder: Path, *, rotate_bytes: int = 16 * 1024 * 1024) -> None:
        self._folder = folder
        self._rotate_bytes = rotate_bytes

    @property
    def path(self) -> Path:
        """The file that is appended to."""
        return self._folder / "events.jsonl"

    def append(self, spec_name: str, task_id: str, event: TaskEvent) -> None:
        """Add one event; it survives a power cut when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        raw = {
            "event_type": event.event_type,
            "spec_name": spec_name,
            "task_id": task_id,
            "timestamp": event.at.isoformat(),
            "details": {**event.data, OURS: {"key": event.key, "epoch": event.epoch}},
        }
        line = json.dumps(raw, ensure_ascii=False).encode() + b"\n"
        if self.path.exists() and self.path.stat().st_size + len(line) > self._rotate_bytes:
            numbers = [number for number, _ in self._rotated()]
            self.path.rename(self._folder / f"events.{max(numbers, default=0) + 1}.jsonl")
        with self.path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                # A torn line: what is added must not become part of it.
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._folder)

    def sync(self) -> None:
        """Make what is there survive a power cut: it may be of a process that died before it could."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            sync_directory(self._folder)

    def read(self, containing: str = "") -> Iterator[tuple[str, TaskEvent]]:
        """Task id and event of each in the order in which they came; only those with the text ``containing`` somewhere
        in them. Other tools' events have no key, and epoch 0.
        """
        wanted = json.dumps(containing, ensure_ascii=False)[1:-1].encode()
        for path in (*(path for _, path in self._rotated()), self.path):
            if not path.exists():
                continue
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if wanted in line and (event := _event(line)) is not None:
                        yield event
                    elif wanted in line and line.strip():
                        log.warning("%s, line %d: not a JSON object, passed over", path, number)

    def _rotated(self) -> list[tuple[int, Path]]:
        if not self._folder.is_dir():
            return []
        found = ((_ROTATED.match(path.name), path) for path in self._folder.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)


def _event(line: bytes) -> tuple[str, TaskEvent] | None:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    details = raw.get("details")
    details = details if isinstance(details, dict) else {}
    kept = ours_of(details)
    epoch = kept.get("epoch")
    return str(raw.get("task_id")), TaskEvent(
        key=str(kept.get("key", "")),
        event_type=str(raw.get("event_type")),
        data={name: value for name, value in details.items() if name != OURS},
        epoch=epoch if isinstance(epoch, int) else 0,
        at=moment(raw.get("timestamp")) or datetime.fromtimestamp(0, UTC),
    )
