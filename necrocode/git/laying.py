"""Makes a slot's files equal a tree: writes only what differs, and never anywhere but in the slot."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping

from necrocode.engine.errors import TaskError
from necrocode.git import descriptors
from necrocode.git.memory import KnownDirectory, settled
from necrocode.git.objects import EMPTY_TREE, EXECUTABLE, GITLINK, LINK, TREE, Entry, ObjectStore, shown
from necrocode.git.tracked import git_refuses
from necrocode.git.walk import MAX_DEPTH

#: Longer than a tick of the clock by which files are dated.
_TICK_SECONDS = 0.025
#: From so many written files on, waiting for the next tick is cheaper than reading them all again.
_WORTH_WAITING = 40


class Laying:
    """One go at making the files below ``top_fd`` those of a tree. ``known`` is what a walk just saw, kept up to date.

    ``everything``: remove also what no tree counts (ignored files, empty directories, ``.git``); otherwise that stays,
    unless it is in the place of something that the tree has.
    """

    def __init__(self, store: ObjectStore, top_fd: int, known: KnownDirectory, *, everything: bool) -> None:
        self._store = store
        self._everything = everything
        self._known = known
        self._place = _Place(None, "", top_fd)
        self._written: list[tuple[KnownDirectory, _Place, list[str]]] = []
        self._count = 0
        #: Patterns were written or removed: what counts as ignored may be something else now.
        self.patterns_changed = False

    def make(self, tree: bytes) -> None:
        """Do it. Raises ``OSError``; what was known of the slot must then be forgotten."""
        try:
            self._directory(self._place, self._known, tree)
            self._remember()
        finally:
            self._place.close_below()

    def _directory(self, place: _Place, known: KnownDirectory, tree: bytes) -> None:
        same = known.tree == tree
        if same and not self._everything:
            return
        target = self._store.read_tree(tree)
        if not same:
            self._clear(place, known, target)
        if self._everything:
            self._clear_unmanaged(place, known, target)
        written: list[str] = []
        for name, (mode, oid) in target.items():
            if not same:
                self._admit(place, name)
            if mode == TREE:
                self._inner(place, known, name, oid)
            elif mode == GITLINK:
                self._link(place, known, name, oid)
            elif not same:
                file = known.files.get(name)
                if file is None or file[1:] != (mode, oid):
                    self._write(place, known, name, mode, oid)
                    written.append(name)
        if written:
            self._written.append((known, place, written))
        known.tree = tree

    def _clear(self, place: _Place, known: KnownDirectory, target: Mapping[str, Entry]) -> None:
        """Take away what counts but is not in the tree, or is something else there."""
        for name in [n for n in known.files if n not in target or target[n][0] in (TREE, GITLINK)]:
            descriptors.unlink(name, place.fd)
            del known.files[name]
            self._note(known, name)
        for name in [n for n in known.directories if n not in target or target[n][0] != TREE]:
            child = known.directories[name]
            if name in target and target[name][0] != GITLINK:
                self._remove(place, known, name)
            elif self._everything or not child.empty:
                self._vacate(place, known, name, child)
        for name in [n for n in known.links if n not in target or target[n][0] != GITLINK]:
            del known.links[name]
            if name in target or self._everything:
                self._remove(place, known, name)
            else:
                descriptors.remove_empty(name, place.fd)

    def _vacate(self, place: _Place, known: KnownDirectory, name: str, child: KnownDirectory) -> None:
        """Empty a directory that the tree does not have; ignored files keep it, unless everything goes."""
        if self._everything:
            self._remove(place, known, name)
            return
        inner = place.below(name)
        try:
            self._clear(inner, child, {})
            for grandchild, below in list(child.directories.items()):
                self._vacate(inner, child, grandchild, below)
        finally:
            inner.close()
        child.tree = EMPTY_TREE
        if descriptors.remove_empty(name, place.fd):
            known.directories.pop(name, None)

    def _clear_unmanaged(self, place: _Place, known: KnownDirectory, target: Mapping[str, Entry]) -> None:
        for name in list(known.unmanaged):
            descriptors.remove(name, place.fd)
            del known.unmanaged[name]
        for name in [n for n, child in known.directories.items() if n not in target and child.empty]:
            self._remove(place, known, name)

    def _inner(self, place: _Place, known: KnownDirectory, name: str, tree: bytes) -> None:
        child = known.directories.get(name)
        if child is None:
            if descriptors.kind_of(name, place.fd) is not None:
                self._remove(place, known, name)
            descriptors.make_directory(name, place.fd)
            child = known.directories[name] = KnownDirectory(tree=EMPTY_TREE)
        inner = place.below(name)
        self._directory(inner, child, tree)

    def _link(self, place: _Place, known: KnownDirectory, name: str, commit: bytes) -> None:
        """A submodule: its commit is kept, its place is an empty directory."""
        if name not in known.links:
            if descriptors.kind_of(name, place.fd) != stat.S_IFDIR or name in known.directories:
                self._remove(place, known, name)
                descriptors.make_directory(name, place.fd)
        elif self._everything:
            with descriptors.directory(name, place.fd) as fd:
                descriptors.remove_content(fd)
        known.links[name] = commit

    def _write(self, place: _Place, known: KnownDirectory, name: str, mode: int, oid: bytes) -> None:
        content = self._store.read_blob(oid)
        if name not in known.files and descriptors.kind_of(name, place.fd) == stat.S_IFDIR:
            self._remove(place, known, name)
        if mode == LINK:
            descriptors.write_link(name, content, place.fd)
        else:
            descriptors.write_file(name, content, place.fd, executable=mode == EXECUTABLE)
        known.unmanaged.pop(name, None)
        known.files[name] = (None, mode, oid)
        self._count += 1
        self._note(known, name)

    def _remove(self, place: _Place, known: KnownDirectory, name: str) -> None:
        descriptors.remove(name, place.fd)
        known.directories.pop(name, None)
        known.files.pop(name, None)
        known.unmanaged.pop(name, None)
        self.patterns_changed = True

    def _note(self, known: KnownDirectory, name: str) -> None:
        if name == ".gitignore":
            known.rules = None
            self.patterns_changed = True

    def _admit(self, place: _Place, name: str) -> None:
        if git_refuses(name) or name in ("", ".", "..") or "/" in name:
            raise TaskError(
                f"the repository holds {shown(place.path + name)!r}, a name that git itself refuses to check out",
                stop_reason="unsupported_repo",
            )
        if place.depth >= MAX_DEPTH:
            raise TaskError(
                f"the repository's directories are nested deeper than {MAX_DEPTH} levels",
                stop_reason="unsupported_repo",
            )

    def _remember(self) -> None:
        """Note the states of what was written, so that the next walk need not read it."""
        if self._count < _WORTH_WAITING:
            return
        time.sleep(_TICK_SECONDS)
        now = time.time_ns()
        for known, place, names in self._written:
            for name in names:
                _, mode, oid = known.files[name]
                st = os.stat(name, dir_fd=place.fd, follow_symlinks=False)
                known.files[name] = (settled(st, now), mode, oid)


class _Place:
    """A directory in the slot, opened by name from its parent the first time something is done in it."""

    __slots__ = ("_below", "_fd", "_name", "_own", "_parent", "depth")

    #: Open at most so many at once; which ones matters little.
    LIMIT = 128

    def __init__(self, parent: _Place | None, name: str, fd: int | None = None) -> None:
        self._parent, self._name, self._fd, self._own = parent, name, fd, fd is None
        self.depth: int = 0 if parent is None else parent.depth + 1
        self._below: list[_Place] = parent._below if parent is not None else []

    def below(self, name: str) -> _Place:
        return _Place(self, name)

    @property
    def path(self) -> str:
        return "" if self._parent is None else f"{self._parent.path}{self._name}/"

    @property
    def fd(self) -> int:
        if self._fd is None:
            assert self._parent is not None
            self._fd = descriptors.open_directory(self._name, self._parent.fd)
            self._below.append(self)
            if len(self._below) > self.LIMIT:
                self._close_idle()
        return self._fd

    def close(self) -> None:
        if self._own and self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._below.remove(self)

    def close_below(self) -> None:
        for place in list(self._below):
            place.close()

    def _close_idle(self) -> None:
        """Close all but this place and its parents; they open again when needed."""
        line: set[int] = set()
        place: _Place | None = self
        while place is not None:
            line.add(id(place))
            place = place._parent
        for other in [other for other in self._below if id(other) not in line]:
            other.close()
