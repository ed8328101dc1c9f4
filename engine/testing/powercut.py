"""Power cuts: the disks that one may leave of a recorded database, and what must be true of each.

Until a file is synced, any part of what was written to it may be on the disk, in any order, and a write may be torn
between two sectors; until its folder is synced, a name may be there or not. So from one :class:`Recording` come many
disks, each the work of a cut at some moment. ``tests/crash/power_cut/`` shows how all of this goes together.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy.exc import DBAPIError

from necrocode.engine.driver import Program
from necrocode.engine.entry import Entry
from necrocode.engine.errors import EngineError
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.testing.promises import broken_promises
from necrocode.engine.testing.recording import (
    Created,
    Deleted,
    NamesSynced,
    Operation,
    Recording,
    Synced,
    Truncated,
    Wrote,
)

SECTOR = 512
"""Bytes that a disk writes as a whole or not at all."""

WINDOW = 16
"""Pending operations that are lost and kept one by one; of more, so many by chance."""

Files: TypeAlias = Mapping[str, bytes]
"""What is on a disk: contents by name."""

Lies: TypeAlias = Callable[[Operation], bool]
"""Which operations a disk only says that it had done."""


def honest(_: Operation) -> bool:
    """The lies of a disk that tells none."""
    return False


@dataclass(frozen=True, slots=True)
class Cut:
    """A disk after a power cut."""

    #: So many operations of the recording had been done.
    position: int
    #: What became of those that nobody had synced.
    fate: str
    files: Files

    def __str__(self) -> str:
        return f"after {self.position} operations, {self.fate}"

    @property
    def digest(self) -> bytes:
        """Of the files: equal disks have equal ones."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(b"%b\0%d\0%b" % (os.fsencode(name), len(content), content))
        return digest.digest()


class Disk:
    """A disk in the course of a recording: what is on it for certain, and what may be."""

    def __init__(self, recording: Recording, lies: Lies = honest) -> None:
        self._lies = lies
        self._names = dict(recording.files)
        self._contents = {number: bytearray(recording.before[name]) for name, number in recording.files.items()}
        #: What was done and not synced, in order.
        self.pending: list[Operation] = []

    def do(self, operation: Operation) -> None:
        """Go on by one operation of the recording."""
        if self._lies(operation):
            return
        if isinstance(operation, Synced):
            self._settle(lambda each: isinstance(each, Wrote | Truncated) and each.file == operation.file)
        elif isinstance(operation, NamesSynced):
            self._settle(lambda each: isinstance(each, Created | Deleted))
        else:
            self.pending.append(operation)

    def files(self, arrived: Iterable[Operation]) -> Files:
        """What is found if of the pending operations these have ``arrived``, in this order."""
        arrived = list(arrived)
        changed = {each.file for each in arrived if isinstance(each, Wrote | Truncated)}
        names = dict(self._names)
        contents = {
            file: bytearray(content) if file in changed else content for file, content in self._contents.items()
        }
        for operation in arrived:
            _apply(operation, names, contents)
        return {name: bytes(contents.get(file, b"")) for name, file in names.items()}

    def size(self, file: int) -> int:
        """Bytes of the file that are on the disk for certain."""
        return len(self._contents.get(file, b""))

    def _settle(self, which: Callable[[Operation], bool]) -> None:
        for operation in self.pending:
            if which(operation):
                _apply(operation, self._names, self._contents)
        self.pending = [each for each in self.pending if not which(each)]


def _apply(operation: Operation, names: dict[str, int], contents: dict[int, bytearray]) -> None:
    match operation:
        case Created(name, file):
            names[name] = file
        case Deleted(name):
            names.pop(name, None)
        case Wrote(file, at, data):
            content = contents.setdefault(file, bytearray())
            content.extend(bytes(max(0, at - len(content))))
            content[at : at + len(data)] = data
        case Truncated(file, size):
            del contents.setdefault(file, bytearray())[size:]


# --- which cuts ---


def swept(recording: Recording, *, share: float = 1, seed: int = 1, lies: Lies = honest) -> Iterator[Cut]:
    """Cuts at every moment: nothing pending has arrived, all, all but one, one alone, all backwards, the last one torn.

    ``share``: only such a part of them, by chance.
    """
    chance, disk = random.Random(seed), Disk(recording, lies)
    for position, operation in enumerate([None, *recording.operations]):
        if operation is not None:
            disk.do(operation)
        for fate, arrived in _fates(disk.pending, chance):
            if chance.random() < share:
                yield Cut(position, fate, disk.files(arrived))


def sweep_size(recording: Recording, *, seed: int = 1) -> int:
    """How many cuts :func:`swept` makes; many leave the same disk."""
    chance, disk, size = random.Random(seed), Disk(recording), 0
    for operation in recording.operations:
        disk.do(operation)
        size += sum(1 for _ in _fates(disk.pending, chance))
    return size + 1


def _fates(pending: Sequence[Operation], chance: random.Random) -> Iterator[tuple[str, Sequence[Operation]]]:
    """What may become of pending operations: words for it, and those that have arrived."""
    yield "nothing pending arrived", []
    if not pending:
        return
    yield f"all {len(pending)} pending arrived", pending
    yield "all pending arrived, the last first", pending[::-1]
    for number in sorted(chance.sample(range(len(pending)), min(WINDOW, len(pending)))):
        yield f"pending {number} was lost", [*pending[:number], *pending[number + 1 :]]
        yield f"only pending {number} arrived", [pending[number]]
    sectors = _sectors(pending[-1])
    middle = len(sectors) // 2
    if middle:
        yield "the last was torn, its first half arrived", [*pending[:-1], *sectors[:middle]]
        yield "the last was torn, its second half arrived", [*pending[:-1], *sectors[middle:]]


def drawn(recording: Recording, count: int, *, seed: int = 1, lies: Lies = honest) -> Iterator[Cut]:
    """At most ``count`` cuts by chance: any sectors have arrived, in any order; some that had not are full of noise.

    Noise is found only where the file had no content for certain: a file system may have given it the room already.
    Moments at which nothing is pending are left out.
    """
    chance, disk, position = random.Random(seed), Disk(recording, lies), 0
    for moment in sorted(chance.randint(0, len(recording.operations)) for _ in range(count)):
        for operation in recording.operations[position:moment]:
            disk.do(operation)
        position = moment
        if disk.pending:
            arrived = list(_by_chance(disk, chance))
            if chance.random() < 0.5:
                chance.shuffle(arrived)
            yield Cut(moment, f"{len(arrived)} parts arrived by chance", disk.files(arrived))


def _by_chance(disk: Disk, chance: random.Random) -> Iterator[Operation]:
    likely, torn, noisy = chance.choice((0.1, 0.5, 0.9)), chance.random() < 0.7, chance.random() < 0.3
    for operation in disk.pending:
        for piece in _sectors(operation) if torn else [operation]:
            if chance.random() < likely:
                yield piece
            elif noisy and isinstance(piece, Wrote) and piece.at >= disk.size(piece.file):
                yield Wrote(piece.file, piece.at, chance.randbytes(len(piece.data)))


def _sectors(operation: Operation) -> Sequence[Operation]:
    """A write in parts, none of which lies in two sectors; anything else as it is."""
    if not isinstance(operation, Wrote):
        return [operation]
    start, end = operation.at, operation.at + len(operation.data)
    bounds = [start, *range(start - start % SECTOR + SECTOR, end, SECTOR), end]
    return [Wrote(operation.file, at, operation.data[at - start : until - start]) for at, until in pairwise(bounds)]


# --- what must be true ---


class Witness:
    """Hears what the journal says is on disk, and remembers at which moment of the recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.told: list[tuple[int, Entry]] = []

    def __call__(self, entry: Entry, _: Mapping[str, Any]) -> None:
        """An :data:`~necrocode.engine.claim.Observer` for the driver."""
        self.told.append((len(self.recording.operations), entry))

    def acknowledged(self, position: int) -> list[Entry]:
        """What was said to be on disk when so many operations had been done."""
        return [entry for at, entry in self.told if at <= position]


@dataclass(frozen=True, slots=True)
class Remains:
    """What was found after a cut."""

    #: What is wrong with it, whatever the durability.
    problems: Sequence[str]
    #: Run and number of each entry that is there.
    entries: Set[tuple[str, int]]

    def lost(self, acknowledged: Iterable[Entry]) -> list[str]:
        """Which of these are not there."""
        missing = [entry for entry in acknowledged if (entry.run_id, entry.seq) not in self.entries]
        return [f"entry {entry.seq} ({entry.kind} {entry.name}) of {entry.run_id} is lost" for entry in missing]


def remains(
    cut: Cut, path: Path, written: Mapping[tuple[str, int], str], programs: Mapping[str, Program | Lifecycle]
) -> Remains:
    """Lay out what ``cut`` left in the folder of ``path`` (empty), open the journal at ``path``, and look at it.

    It must open, be whole by SQLite's own account and by the engine's promises, and hold no entries but those that
    were ``written`` (run and number → hash, of all that ever were), without a gap.
    """
    for name, content in cut.files.items():
        path.with_name(name).write_bytes(content)
    problems, entries = list[str](), set[tuple[str, int]]()
    try:
        with Journal(path, durability="process-crash") as journal:
            with journal.database.read() as connection:
                said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            problems += [f"SQLite says: {words}" for words in said if words != "ok"]
            problems += broken_promises(journal, programs)
            for run in journal.runs():
                for entry in journal.entries(run.run_id):
                    entries.add((entry.run_id, entry.seq))
                    if written.get((entry.run_id, entry.seq)) != entry.hash:
                        problems.append(f"entry {entry.seq} of {entry.run_id} is not one that was written")
    except (EngineError, sqlite3.Error, DBAPIError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    return Remains(problems, entries)
