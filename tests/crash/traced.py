"""What a real process did to the disk, as strace saw it: which files, and which names, were synced before what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "open,openat,openat2,creat,write,pwrite64,writev,pwritev,ftruncate,copy_file_range,rename,renameat,renameat2,"
    "link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync"
)


def strace(output: Path) -> list[str]:
    """The command to put before another, so that it and its children are traced, pages of databases in full."""
    return ["strace", "-f", "--seccomp-bpf", "-y", "-qq", "-s", "8192", "-o", str(output), "-e", f"trace={CALLS}"]


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that succeeded."""

    name: str
    #: As written by strace.
    arguments: str
    #: What it returned; of a descriptor, the path of its file.
    result: str

    #: The files that it is about, in order: of descriptors, or of names with the folders that they are in.
    paths: Sequence[Path]


def _paths(name: str, arguments: str) -> list[Path]:
    if name in _ON_DESCRIPTORS:
        return [_path(each) for each in _DESCRIPTOR.findall(_TEXT.sub("", arguments))]
    return [_path(folder) / name for folder, name in _NAMED.findall(arguments)]


def _path(told: str) -> Path:
    return Path(told.removesuffix(" (deleted)"))


_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)\n")
_WHOLE = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>[^-?].*)")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_DESCRIPTOR = re.compile(r"\d<([^>]*)>")
_NAMED = re.compile(r'(?:(?:\d|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_WRITES = ("write", "pwrite64", "writev", "pwritev", "ftruncate", "copy_file_range")
_ON_DESCRIPTORS = (*_WRITES, "fsync", "fdatasync")


def calls(trace: Path) -> Iterator[Call]:
    """The calls in the order in which they came back."""
    begun: dict[str, str] = {}
    with trace.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            match = _LINE.fullmatch(line)
            assert match is not None, line
            pid, rest = match["pid"], match["rest"]
            if rest.endswith(" <unfinished ...>"):
                begun[pid] = rest.removesuffix(" <unfinished ...>")
                continue
            if rest.startswith("<... "):
                rest = begun.pop(pid, "") + rest.partition(" resumed>")[2]
            whole = _WHOLE.fullmatch(rest)
            if whole is not None:
                name, arguments = whole["name"], whole["arguments"]
                yield Call(name, arguments, whole["result"], _paths(name, arguments))


@dataclass
class Traced:
    """The disk below ``root`` in the course of a trace: what a power cut may take, by the letter of POSIX.

    A file's content is safe once it was synced, its name once its folder was, and that of the folder once its own was.
    What was there before is safe.
    """

    root: Path
    _names: set[Path] = field(default_factory=set)
    _unsynced_names: set[Path] = field(default_factory=set)
    _unsynced: set[Path] = field(default_factory=set)

    def do(self, call: Call) -> None:
        """Go on by one call."""
        paths = call.paths
        match call.name:
            case "open" | "openat" | "openat2" | "creat":
                self._open(call)
            case "mkdir" | "mkdirat":
                self._new(paths[0])
            case "rename" | "renameat" | "renameat2":
                self._move(*paths)
            case "link" | "linkat":
                self._new(paths[1])
                if paths[0] in self._unsynced:
                    self._unsynced.add(paths[1])
            case "unlink" | "unlinkat" | "rmdir":
                self._forget(paths[0])
            case "fsync" | "fdatasync":
                self._unsynced.discard(paths[0])
                self._unsynced_names -= {name for name in self._unsynced_names if name.parent == paths[0]}
            case _ if call.name in _WRITES:
                self._unsynced.add(paths[-1])

    def endangered(self, path: Path) -> list[str]:
        """Why a power cut now may take the file at ``path``."""
        found = [f"{path} was not synced"] if path in self._unsynced else []
        above = [each for each in (path, *path.parents) if each.is_relative_to(self.root)]
        return found + [f"the name {each} was not synced" for each in above if each in self._unsynced_names]

    def _open(self, call: Call) -> None:
        opened = _DESCRIPTOR.search(call.result)
        assert opened is not None, call
        path = _path(opened[1])
        if "O_CREAT" in call.arguments or call.name == "creat":
            self._new(path)
        if "O_TRUNC" in call.arguments:
            self._unsynced.add(path)

    def _new(self, path: Path) -> None:
        if path.is_relative_to(self.root) and path not in self._names:
            self._names.add(path)
            self._unsynced_names.add(path)

    def _move(self, old: Path, new: Path) -> None:
        for known in (self._names, self._unsynced_names, self._unsynced):
            moved = {each for each in known if each.is_relative_to(old)}
            known -= {each for each in known if each.is_relative_to(new)} | moved
            known |= {new / each.relative_to(old) for each in moved}
        self._names.add(new)
        self._unsynced_names.add(new)

    def _forget(self, path: Path) -> None:
        for known in (self._names, self._unsynced_names, self._unsynced):
            known.discard(path)


def first_written(database: Path, words: Iterable[str], made: Iterable[Call]) -> Iterator[tuple[str, Traced]]:
    """Each of ``words`` that gets into the write-ahead log of ``database``, and the disk as it is just before.

    From then on it may be on the disk, synced or not. A word may be split by the end of a page: one half is enough.
    """
    log, wanted = database.with_name(database.name + "-wal"), set(words)
    disk = Traced(database.parent)
    for call in made:
        if call.name in _WRITES and wanted and call.paths[-1] == log:
            for word in sorted(wanted):
                middle = len(word) // 2
                if word[:middle] in call.arguments or word[middle:] in call.arguments:
                    wanted.discard(word)
                    yield word, disk
        disk.do(call)
