"""A slot's files: recorded, put back, laid anew. Knows no git but the object store."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from necrocode.disk import file_errors
from necrocode.drafts import replace_file
from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.folders import make_folder
from necrocode.git import descriptors, memory
from necrocode.git.laying import Laying
from necrocode.git.objects import Entry, ObjectStore
from necrocode.git.walk import Walker

_ROUNDS = 8
#: A walk that read so many files is worth writing down for the next process.
_WORTH_SAVING = 200


class SlotFiles:
    """The folder ``path`` and, in the folder ``state`` outside of it, what is remembered of it.

    Not for two threads at once. Raises :class:`EnvironmentFault` ``slot_lost`` (the folder is not there),
    ``slot_damaged`` (it cannot be read or written), ``disk_full``.
    """

    def __init__(
        self,
        path: Path,
        state: Path,
        store: ObjectStore,
        *,
        theirs: Mapping[str, Entry] | None = None,
        patterns: Sequence[bytes] = (),
    ) -> None:
        """``theirs``: a user's own untracked files: left out while unchanged, put back with every restore.

        ``patterns``: contents of further ignore files, each weaker than the one after it and than any ``.gitignore``.
        """
        self.path = path
        self._state = state
        self.store = store
        self._tracked = _load_trees(state / "tracked.json")
        self._theirs = dict(theirs or {})
        self._walker = Walker(store, tracked=self._tracked, theirs=self._theirs, patterns=patterns)
        self._walked = False
        known = memory.load(state / "files.json")
        if known is not None and known.tree is not None and store.has(known.tree):
            self._walker.top = known

    @property
    def known(self) -> memory.KnownDirectory:
        """The files as last seen."""
        return self._walker.top

    def take_warnings(self) -> list[str]:
        """What was left out and why, each said once."""
        found, self._walker.warnings = self._walker.warnings, []
        return found

    def track(self, trees: Sequence[bytes]) -> None:
        """From now on exactly these trees say which files are tracked."""
        self._tracked = list(dict.fromkeys(trees))
        self._walker.track(self._tracked)
        _save_trees(self._state / "tracked.json", self._tracked)

    def snapshot(self, paths: Sequence[str] | None = None, *, keep: bool = True) -> bytes:
        """The tree of what counts; stored, unless ``keep`` is off. ``paths``: nothing else can have changed."""
        with self._opened() as fd:
            if paths is not None and self._walked and keep:
                return self._walker.look_at(fd, paths)
            tree = self._walker.walk(fd, keep=keep)
            self._walked = True
        if not keep:
            # What was only hashed must not be taken for stored later.
            self._walker.forget()
            self._walked = False
        elif self._walker.files_read >= _WORTH_SAVING:
            self.save()
        return tree

    def restore(self, tree: bytes) -> None:
        """Make what counts equal ``tree``; the rest stays."""
        if tree not in self._tracked:
            # Or a file that the tree has, and its own patterns ignore, would be gone from the next snapshot.
            self.track([*self._tracked, tree])
        target = self._with_theirs(tree)
        with self._opened() as fd:
            for _ in range(_ROUNDS):
                if self._walker.walk(fd, keep=False) == tree and not self._theirs:
                    break
                laying = Laying(self.store, fd, self.known, everything=False)
                laying.make(target)
                if self._theirs:
                    # What was laid holds their files too, which no tree of ours does.
                    self.known.forget_trees()
                if not laying.patterns_changed:
                    break
            else:
                raise EnvironmentFault(f"{self.path} keeps changing while it is put back", stop_reason="slot_damaged")
            self._walked = True
        self.save()

    def lay(self, tree: bytes, *, tracked: Sequence[bytes]) -> None:
        """Make the folder hold the files of ``tree`` and nothing else, whatever is there now."""
        self._make_folder()
        with self._opened() as fd:
            descriptors.remove(".git", fd)
            self.track([*tracked, tree])
            self._walker.walk(fd, keep=False)
            laying = Laying(self.store, fd, self.known, everything=True)
            laying.make(tree)
            # Rules that were laid are not read yet.
            self._walked = not laying.patterns_changed
        self.save()

    def clean(self) -> None:
        """Leave nothing of a run: the files of the commit it stood on, or none."""
        if not self._tracked or not self.store.has(self._tracked[0]):
            self._make_folder()
            with self._opened() as fd:
                descriptors.remove_content(fd)
            self._walker.forget()
            (self._state / "files.json").unlink(missing_ok=True)
            return
        self.lay(self._tracked[0], tracked=self._tracked[:1])

    def save(self) -> None:
        """Write down what is known, for the next process."""
        memory.save(self._state / "files.json", self.known)

    def _with_theirs(self, tree: bytes) -> bytes:
        """``tree`` and, where nothing of it is in their way, the user's own files as they were."""
        if not self._theirs:
            return tree
        files = dict(self.store.flatten(tree))
        taken = {path[:at] for path in files for at in range(len(path)) if path[at] == "/"}
        for path, entry in self._theirs.items():
            above = (path[:at] for at in range(len(path)) if path[at] == "/")
            if path not in files and path not in taken and not any(folder in files for folder in above):
                files[path] = entry
        return self.store.build(files)

    def _make_folder(self) -> None:
        with file_errors(self.path, reason="slot_damaged"), descriptors.directory(self.path.parent) as parent:
            if descriptors.kind_of(self.path.name, parent) != stat.S_IFDIR:
                descriptors.remove(self.path.name, parent)
                os.mkdir(self.path.name, 0o700, dir_fd=parent)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        with file_errors(self.path, reason="slot_damaged"):
            try:
                fd = descriptors.open_directory(self.path)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise EnvironmentFault(
                    f"the slot {self.path} is gone: resume the run to get another", stop_reason="slot_lost"
                ) from error
            try:
                yield fd
            except BaseException:
                self._walker.forget()
                self._walked = False
                raise
            finally:
                os.close(fd)


def _load_trees(path: Path) -> list[bytes]:
    try:
        return [bytes.fromhex(tree) for tree in json.loads(path.read_text(encoding="ascii"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise EnvironmentFault(f"{path} is damaged: {error}", stop_reason="slot_damaged") from error


def _save_trees(path: Path, trees: Sequence[bytes]) -> None:
    make_folder(path.parent)
    replace_file(path, json.dumps([tree.hex() for tree in trees]).encode("ascii"))
