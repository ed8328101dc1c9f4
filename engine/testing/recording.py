"""Recordings: what SQLite writes, syncs, creates and deletes, in order, as it tells its file system.

A VFS (SQLite's word for its layer to the operating system) is registered beside the default one in the SQLite library
that the interpreter uses. It lets the default one do everything, and writes down what changes a disk.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sqlite3
import threading
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

_OK = 0


class Unrecordable(RuntimeError):
    """The SQLite of this interpreter cannot be reached from outside."""


@dataclass(frozen=True, slots=True)
class Created:
    """``name`` is a new file."""

    name: str
    #: Numbers the files: one that is deleted and made again is another.
    file: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """The name is gone."""

    name: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """``data`` was written ``at`` so many bytes from the start."""

    file: int
    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncated:
    """The file was cut to ``size`` bytes."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """All that was written to the file before is on the disk."""

    file: int


@dataclass(frozen=True, slots=True)
class NamesSynced:
    """All names of the folder that were made or deleted before are so on the disk."""


Operation: TypeAlias = Created | Deleted | Wrote | Truncated | Synced | NamesSynced


class Recording:
    """Records what is done to the databases in a folder through its :attr:`connections`.

    ``folder`` must exist; what is in it counts as being on the disk, names included. A file that SQLite does not make
    itself is new from the moment that SQLite opens it. The ``-shm`` file is no part of it: it does not outlive the
    machine. Raises :class:`Unrecordable`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        #: What was done so far, in order.
        self.operations: list[Operation] = []
        #: What was on the disk at the start.
        self.before: dict[str, bytes] = {
            path.name: path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file()
        }
        #: The number of each file there was at the start.
        self.files: dict[str, int] = {name: number for number, name in enumerate(self.before)}
        self._names = dict(self.files)
        self._numbers = itertools.count(len(self.files))
        self._lock = threading.Lock()
        _shim().recordings[self.folder] = self

    def close(self) -> None:
        """Record nothing more."""
        _shim().recordings.pop(self.folder, None)

    @property
    def connections(self) -> type[sqlite3.Connection]:
        """The class of connections for ``Journal(connections=…)`` that is recorded here."""
        vfs = _shim().name

        class RecordedConnection(sqlite3.Connection):
            def __init__(self, database: str, *args: Any, **kwargs: Any) -> None:
                super().__init__(f"file:{quote(database)}?vfs={vfs}", *args, **{**kwargs, "uri": True})

        return RecordedConnection

    def opened(self, name: str) -> int:
        """SQLite has the file open; returns its number."""
        with self._lock:
            number = self._names.get(name)
            if number is None:
                number = self._names[name] = next(self._numbers)
                self.operations.append(Created(name, number))
            return number

    def deleted(self, name: str) -> None:
        """SQLite has deleted the file."""
        with self._lock:
            if self._names.pop(name, None) is not None:
                self.operations.append(Deleted(name))

    def did(self, operation: Operation) -> None:
        """SQLite has done it."""
        with self._lock:
            self.operations.append(operation)


# --- the C interface: https://sqlite.org/c3ref/vfs.html and https://sqlite.org/c3ref/io_methods.html ---

_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
# Names stay pointers: SQLite keeps the parameters of a URI behind the end of the name.
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_OpenDirectory = CFUNCTYPE(c_int, c_char_p, POINTER(c_int))
_SetSystemCall = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GetSystemCall = CFUNCTYPE(c_void_p, c_void_p, c_char_p)


class _Methods(Structure):
    _fields_ = [
        ("iVersion", c_int),
        ("xClose", c_void_p),
        ("xRead", c_void_p),
        ("xWrite", _Write),
        ("xTruncate", _Truncate),
        ("xSync", _Sync),
        # Those of all versions up to 3; what a library of an older one has behind its own is never called.
        ("others", c_void_p * 13),
    ]


class _File(Structure):
    _fields_ = [("methods", POINTER(_Methods))]


class _Vfs(Structure):
    _fields_ = [
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", _Open),
        ("xDelete", _Delete),
        # xAccess … xCurrentTimeInt64
        ("others", c_void_p * 11),
        ("xSetSystemCall", _SetSystemCall),
        ("xGetSystemCall", _GetSystemCall),
        ("xNextSystemCall", c_void_p),
    ]


class _Shim:
    """The VFS. Registered once and for the life of the process: SQLite may hold on to it for as long."""

    def __init__(self) -> None:
        self.name = "necrocode-recording"
        #: By their folders.
        self.recordings: dict[Path, Recording] = {}
        self._open_files: dict[int, tuple[Recording, int]] = {}
        self._tables: dict[int, _Methods] = {}
        #: What SQLite calls in the midst of something: whether that thread has opened a folder, as it does to sync it.
        self._thread = threading.local()
        library = _library()
        found = library.sqlite3_vfs_find(None)
        assert found
        self._under: _Vfs = found.contents
        self._own = _Vfs.from_buffer_copy(self._under)
        self._own.pNext = None
        self._own.zName = self.name.encode()
        self._own.xOpen = _Open(self._x_open)
        self._own.xDelete = _Delete(self._x_delete)
        self._watch_directories()
        if library.sqlite3_vfs_register(byref(self._own), 0) != _OK:
            raise Unrecordable("SQLite refuses another VFS")

    def _watch_directories(self) -> None:
        """Hear of it when a folder is synced: that happens inside of other calls."""
        address = self._under.xGetSystemCall(byref(self._under), b"openDirectory")
        if not address:
            raise Unrecordable("this SQLite syncs no folders")
        original = _OpenDirectory(address)

        def open_directory(name: bytes, descriptor: Any) -> int:
            self._thread.opened = True
            return int(original(name, descriptor))

        self._open_directory = _OpenDirectory(open_directory)
        self._under.xSetSystemCall(byref(self._under), b"openDirectory", ctypes.cast(self._open_directory, c_void_p))

    def _recording_of(self, name: int | None) -> tuple[Recording | None, str]:
        path = Path(os.fsdecode(ctypes.string_at(name))) if name else Path()
        return self.recordings.get(path.parent), path.name

    def _x_open(self, _: int, name: int | None, file: int, flags: int, told: Any) -> int:
        done = int(self._under.xOpen(ctypes.addressof(self._under), name, file, flags, told))
        recording, own_name = self._recording_of(name)
        if done == _OK and recording is not None:
            self._open_files[file] = (recording, recording.opened(own_name))
            opened = _File.from_address(file)
            opened.methods = ctypes.pointer(self._recorded(opened.methods))
        return done

    def _x_delete(self, _: int, name: int | None, sync: int) -> int:
        self._thread.opened = False
        done = int(self._under.xDelete(ctypes.addressof(self._under), name, sync))
        recording, own_name = self._recording_of(name)
        if done == _OK and recording is not None:
            recording.deleted(own_name)
            self._names_synced(recording)
        return done

    def _recorded(self, methods: Any) -> _Methods:
        """The table of functions for a file, those that change it ours. The rest works on the file as before."""
        address = ctypes.addressof(methods.contents)
        if address in self._tables:
            return self._tables[address]
        original: _Methods = methods.contents
        table = _Methods.from_buffer_copy(original)

        def write(file: int, data: int, size: int, at: int) -> int:
            done = original.xWrite(file, data, size, at)
            return self._note(file, done, lambda number: Wrote(number, at, ctypes.string_at(data, size)))

        def truncate(file: int, size: int) -> int:
            return self._note(file, original.xTruncate(file, size), lambda number: Truncated(number, size))

        def sync(file: int, flags: int) -> int:
            self._thread.opened = False
            done = self._note(file, original.xSync(file, flags), Synced)
            self._names_synced(self._open_files[file][0])
            return done

        table.xWrite, table.xTruncate, table.xSync = _Write(write), _Truncate(truncate), _Sync(sync)
        return self._tables.setdefault(address, table)

    def _note(self, file: int, done: int, operation: Callable[[int], Operation]) -> int:
        if done == _OK:
            recording, number = self._open_files[file]
            recording.did(operation(number))
        return done

    def _names_synced(self, recording: Recording) -> None:
        if self._thread.opened:
            recording.did(NamesSynced())


@cache
def _shim() -> _Shim:
    return _Shim()


def _library() -> ctypes.CDLL:
    """The SQLite library that the interpreter's own module is linked with."""
    import _sqlite3

    # A module that is built into the interpreter has no file: then the symbols are the interpreter's, if it shows them.
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    try:
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = [c_char_p]
        library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
    except AttributeError as error:
        raise Unrecordable(f"the SQLite of this interpreter cannot be reached: {error}") from error
    return library
