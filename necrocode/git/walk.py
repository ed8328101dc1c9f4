"""Walks a slot as a folder of files and computes its tree: our own walk, since git's would open the slot's ``.git``.

What counts (is *managed*): every file that a tracked tree names, and every other one that no ``.gitignore`` in the slot
ignores. ``.git`` is skipped at every level: a nested repository is plain files. Symbolic links are never followed.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Mapping, Sequence

from necrocode.git import descriptors
from necrocode.git.ignore import EMPTY, Rules
from necrocode.git.memory import KnownDirectory, KnownFile, settled
from necrocode.git.objects import (
    EMPTY_TREE,
    EXECUTABLE,
    FILE,
    GITLINK,
    LINK,
    TREE,
    Entry,
    ObjectStore,
    format_tree,
    object_id,
    shown,
)
from necrocode.git.tracked import Tracked, git_refuses

MAX_DEPTH = 200
"""Directories deeper than this are left out, with a warning."""

MAX_NEW_FILE_BYTES = 100 << 20
"""An untracked file larger than this is left out, with a warning: no host takes it in a push (GitHub's limit)."""

_MAX_PATTERN_BYTES = 1 << 20
#: What opening a file or link says when something else has taken its place.
_REPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EINVAL})


class Walker:
    """Walks one slot again and again. Not for two threads at once."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        tracked: Sequence[bytes],
        theirs: Mapping[str, Entry],
        patterns: Sequence[bytes] = (),
    ) -> None:
        """``theirs``: files left out for as long as they are what they were (a user's own untracked ones).

        ``patterns``: contents of ignore files that stand above every ``.gitignore``, the weakest first.
        """
        self.store = store
        self.top = KnownDirectory()
        self.warnings: list[str] = []
        #: Files read by the last walk.
        self.files_read = 0
        self._theirs = theirs
        self._generation = 0
        self._keep = True
        self._now = 0
        self._tracked = Tracked(store, list(dict.fromkeys(tracked)))
        self._rules = EMPTY
        for content in patterns:
            self._rules = Rules(self._rules, "", content)

    def track(self, trees: Sequence[bytes]) -> None:
        """From the next walk on, these trees say what is tracked."""
        self._generation += 1
        self._tracked = Tracked(self.store, list(dict.fromkeys(trees)))

    def forget(self) -> None:
        """Read everything anew next time."""
        self.top = KnownDirectory()

    def walk(self, top_fd: int, *, keep: bool) -> bytes:
        """Look at everything; returns the tree of what counts. ``keep``: store what is new."""
        self._keep, self._now, self.files_read = keep, time.time_ns(), 0
        self._directory(top_fd, self.top, "", self._rules, self._tracked, 0)
        assert self.top.tree is not None
        return self.top.tree

    def look_at(self, top_fd: int, paths: Sequence[str]) -> bytes:
        """As :meth:`walk`, for the case that nothing but ``paths`` can have changed. Needs a walk before it."""
        self._keep, self._now, self.files_read = True, time.time_ns(), 0
        for path in paths:
            parts = [part for part in path.split("/") if part not in ("", ".")]
            if path.startswith("/") or ".." in parts or not parts:
                raise ValueError(f"{path!r} is no path relative to the slot")
            self._path(top_fd, self.top, "", parts, self._tracked, 0)
        assert self.top.tree is not None
        return self.top.tree

    # --- one directory ---------------------------------------------------------------------------------------------

    def _directory(
        self, fd: int, known: KnownDirectory, prefix: str, above: Rules, tracked: Tracked, depth: int
    ) -> None:
        files, directories, unmanaged = known.files, known.directories, known.unmanaged
        names: list[str] = []
        changed: list[tuple[str, os.stat_result]] = []
        new: list[str] = []
        inner: list[str] = []
        patterns_touched = False
        matched = 0
        with os.scandir(fd) as listing:
            # The hot loop of every snapshot: for a file that is as it was, one fstatat and one comparison.
            for item in listing:
                name = item.name
                names.append(name)
                file = files.get(name)
                if file is not None:
                    matched += 1
                    try:
                        st = item.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        names.pop()
                        matched -= 1
                        continue
                    if file[0] == (st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino):
                        continue
                    changed.append((name, st))
                    patterns_touched = patterns_touched or name == ".gitignore"
                elif name in directories and item.is_dir(follow_symlinks=False):
                    inner.append(name)
                elif name == ".gitignore":
                    patterns_touched = True
                    new.append(name)
                elif unmanaged.get(name) is not item.is_dir(follow_symlinks=False):
                    new.append(name)
        dirty = known.tree is None
        if matched != len(files) or len(inner) != len(directories) or known.links or len(unmanaged) > len(names):
            present = set(names)
            patterns_touched = patterns_touched or (".gitignore" in files and ".gitignore" not in present)
            dirty = self._drop(known, present, inner) or dirty
            new += [name for name in known.links if name in present and name not in new]
        if self._judge_again(fd, known, prefix, above, patterns_touched, names):
            dirty = self._rejudge(known, prefix, tracked, changed, new, inner) or dirty
        self._settle(fd, known, prefix, tracked, depth, changed, new, inner, dirty)

    def _drop(self, known: KnownDirectory, present: set[str], inner: Sequence[str]) -> bool:
        """Forget what is gone; whether anything that counts was."""
        gone = False
        for name in [name for name in known.files if name not in present]:
            del known.files[name]
            gone = True
        there = set(inner)
        for name in [name for name in known.directories if name not in there]:
            gone = not known.directories.pop(name).empty or gone
        for name in [name for name in known.links if name not in present]:
            del known.links[name]
            gone = True
        for name in [name for name in known.unmanaged if name not in present]:
            del known.unmanaged[name]
        return gone

    def _judge_again(
        self, fd: int, known: KnownDirectory, prefix: str, above: Rules, touched: bool, names: Sequence[str]
    ) -> bool:
        """Bring the directory's rules up to date; whether names must be judged again."""
        if known.rules is None or known.rules_above is not above or touched:
            content = b""
            if ".gitignore" in names:
                content = self._patterns(fd, prefix)
            if known.rules is None or known.rules_above is not above or content != known.own_patterns:
                known.rules = Rules(above, prefix, content) if content else above
                known.rules_above, known.own_patterns = above, content
                known.generation = -1
        if known.generation == self._generation:
            return False
        known.generation = self._generation
        return True

    def _patterns(self, fd: int, prefix: str) -> bytes:
        try:
            # As git does: a symbolic link named .gitignore says nothing.
            content, _ = descriptors.read_file(".gitignore", fd)
        except OSError:
            return b""
        if len(content) > _MAX_PATTERN_BYTES:
            self._warn(f"{shown(prefix)}.gitignore is larger than 1 MiB: its patterns are not read")
            return b""
        return content

    def _rejudge(
        self,
        known: KnownDirectory,
        prefix: str,
        tracked: Tracked,
        changed: list[tuple[str, os.stat_result]],
        new: list[str],
        inner: list[str],
    ) -> bool:
        """The rules or the tracked trees changed: judge every name as if it were new; whether any is out now."""
        before = len(known.files)
        for name in [name for name in known.files if self._left_out(known, prefix, name, tracked, is_directory=False)]:
            del known.files[name]
            known.unmanaged[name] = False
        changed[:] = [pair for pair in changed if pair[0] in known.files]
        dirty = len(known.files) != before
        for name, child in list(known.directories.items()):
            if self._left_out(known, prefix, name, tracked, is_directory=True):
                del known.directories[name]
                known.unmanaged[name] = True
                inner.remove(name)
                dirty = dirty or not child.empty
            else:
                self._set_hidden(child, self._ignored(known, prefix, name, is_directory=True))
                if (entry := tracked.entries.get(name)) is not None and entry[0] == GITLINK:
                    inner.remove(name)
                    new.append(name)
        out = {name for name in known.unmanaged if name not in new}
        for name in out:
            del known.unmanaged[name]
        new += out
        return dirty

    def _settle(
        self,
        fd: int,
        known: KnownDirectory,
        prefix: str,
        tracked: Tracked,
        depth: int,
        changed: list[tuple[str, os.stat_result]],
        new: Sequence[str],
        inner: list[str],
        dirty: bool,
    ) -> None:
        """Take up what changed or is new, descend, and compute the tree."""
        for name, st in changed:
            if stat.S_ISREG(st.st_mode):
                dirty = self._file(fd, known, prefix, name, st, tracked) or dirty
            else:
                dirty = self._new(fd, known, prefix, name, tracked, inner) or dirty
        for name in new:
            dirty = self._new(fd, known, prefix, name, tracked, inner) or dirty
        assert known.rules is not None
        for name in inner:
            child = known.directories[name]
            before = child.tree
            if depth >= MAX_DEPTH:
                self._warn(f"{shown(prefix + name)} lies deeper than {MAX_DEPTH} directories: left out")
                child = known.directories[name] = KnownDirectory(tree=EMPTY_TREE)
            else:
                try:
                    with descriptors.directory(name, fd) as child_fd:
                        self._directory(
                            child_fd, child, f"{prefix}{name}/", known.rules, tracked.below(name), depth + 1
                        )
                except (FileNotFoundError, NotADirectoryError):
                    del known.directories[name]
                    dirty = True
                    continue
            dirty = dirty or child.tree != before
        if dirty or known.tree is None:
            self._compute(known, prefix)

    # --- one name --------------------------------------------------------------------------------------------------

    def _ignored(self, known: KnownDirectory, prefix: str, name: str, *, is_directory: bool) -> bool:
        assert known.rules is not None
        return known.hidden or known.rules.ignores(prefix + name, is_directory)

    def _left_out(self, known: KnownDirectory, prefix: str, name: str, tracked: Tracked, *, is_directory: bool) -> bool:
        if is_directory:
            if not self._ignored(known, prefix, name, is_directory=True):
                return False
            entry = tracked.entries.get(name)
            return not (entry is not None and entry[0] == GITLINK) and not tracked.below(name).trees
        entry = tracked.entries.get(name)
        if entry is not None and entry[0] != TREE:
            return False
        return self._ignored(known, prefix, name, is_directory=False)

    def _new(self, fd: int, known: KnownDirectory, prefix: str, name: str, tracked: Tracked, inner: list[str]) -> bool:
        """Judge a name as what it is now; whether the tree changes by it."""
        was_link = known.links.pop(name, None)
        known.unmanaged.pop(name, None)
        if name.startswith(descriptors.TEMPORARY):
            descriptors.remove(name, fd)
        try:
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return (known.files.pop(name, None) is not None) or was_link is not None
        is_directory = stat.S_ISDIR(st.st_mode)
        refusal = self._refusal(name, st)
        if refusal is not None:
            if refusal:
                self._warn(f"{shown(prefix + name)} {refusal}: left out")
            known.unmanaged[name] = None
        elif self._left_out(known, prefix, name, tracked, is_directory=is_directory):
            known.unmanaged[name] = is_directory
        elif is_directory:
            entry = tracked.entries.get(name)
            if entry is not None and entry[0] == GITLINK and _is_submodule(name, fd):
                known.directories.pop(name, None)
                known.links[name] = entry[1]
                return (known.files.pop(name, None) is not None) or was_link != entry[1]
            child = known.directories.setdefault(name, KnownDirectory())
            self._set_hidden(child, self._ignored(known, prefix, name, is_directory=True))
            inner.append(name)
        else:
            return self._file(fd, known, prefix, name, st, tracked) or was_link is not None
        return (known.files.pop(name, None) is not None) or was_link is not None

    def _refusal(self, name: str, st: os.stat_result) -> str | None:
        """Why no tree can hold it, ``""`` for what goes without saying, ``None`` if one can."""
        if name == ".git":
            return ""
        if git_refuses(name) or (stat.S_ISLNK(st.st_mode) and name.lower() == ".gitmodules"):
            return "has a name that git does not take"
        if not (stat.S_ISDIR(st.st_mode) or stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode)):
            return "is neither file, directory nor symbolic link"
        return None

    def _set_hidden(self, child: KnownDirectory, hidden: bool) -> None:
        if child.hidden != hidden:
            child.hidden, child.generation = hidden, -1

    def _file(
        self, fd: int, known: KnownDirectory, prefix: str, name: str, st: os.stat_result, tracked: Tracked
    ) -> bool:
        """Read and hash a file; whether the tree changes by it."""
        before = known.files.get(name)
        path = prefix + name
        try:
            if stat.S_ISLNK(st.st_mode):
                content = os.readlink(os.fsencode(name), dir_fd=fd)
                mode = LINK
            else:
                if st.st_size > MAX_NEW_FILE_BYTES and name not in tracked.entries:
                    self._warn(f"{shown(path)} is larger than {MAX_NEW_FILE_BYTES >> 20} MiB: left out")
                    known.files.pop(name, None)
                    known.unmanaged[name] = None
                    return before is not None
                content, st = descriptors.read_file(name, fd)
                mode = EXECUTABLE if st.st_mode & 0o100 else FILE
        except OSError as error:
            if error.errno not in _REPLACED:
                raise
            # Replaced between the look and the opening: it is looked at again next time.
            known.files.pop(name, None)
            return before is not None
        self.files_read += 1
        oid = object_id(b"blob", content)
        after: KnownFile = (settled(st, self._now), mode, oid)
        if self._keep and (before is None or before[2] != oid):
            if before is None and name not in tracked.entries:
                self.store.refuse_secret(os.fsencode(path), path)
            self.store.write_blob(oid, content, path)
        known.files[name] = after
        return before is None or before[1:] != after[1:]

    def _compute(self, known: KnownDirectory, prefix: str) -> None:
        entries: dict[str, Entry] = {}
        for name, (_, mode, oid) in known.files.items():
            entries[name] = (mode, oid)
        if self._theirs:
            for name in known.files:
                if self._theirs.get(prefix + name) == entries[name]:
                    del entries[name]
        for name, child in known.directories.items():
            if child.tree is not None and not child.empty:
                entries[name] = (TREE, child.tree)
        for name, oid in known.links.items():
            entries[name] = (GITLINK, oid)
        content = format_tree(entries)
        known.tree = object_id(b"tree", content)
        if self._keep:
            self.store.write_tree(known.tree, content)

    # --- one path --------------------------------------------------------------------------------------------------

    def _path(
        self, fd: int, known: KnownDirectory, prefix: str, parts: Sequence[str], tracked: Tracked, depth: int
    ) -> None:
        name = parts[0]
        child = known.directories.get(name)
        if len(parts) > 1 and child is not None and depth < MAX_DEPTH and child.rules is not None:
            try:
                child_fd = descriptors.open_directory(name, fd)
            except (FileNotFoundError, NotADirectoryError):
                child_fd = -1
            if child_fd >= 0:
                before = child.tree
                try:
                    self._path(child_fd, child, f"{prefix}{name}/", parts[1:], tracked.below(name), depth + 1)
                finally:
                    os.close(child_fd)
                if child.tree != before:
                    self._compute(known, prefix)
                return
        if name == ".gitignore":
            assert known.rules_above is not None
            self._directory(fd, known, prefix, known.rules_above, tracked, depth)
            return
        kind = descriptors.kind_of(name, fd)
        changed: list[tuple[str, os.stat_result]] = []
        inner: list[str] = []
        dirty = False
        if kind != stat.S_IFDIR and name in known.directories:
            dirty = not known.directories.pop(name).empty
        if kind is None or kind == stat.S_IFDIR:
            dirty = known.files.pop(name, None) is not None or dirty
        self._settle(fd, known, prefix, tracked, depth, changed, [name], inner, dirty)

    def _warn(self, text: str) -> None:
        if text not in self.warnings and len(self.warnings) < 100:
            self.warnings.append(text)


def _is_submodule(name: str, dir_fd: int) -> bool:
    """Still a submodule's place: empty, or with a ``.git``; otherwise somebody put plain files there."""
    with descriptors.directory(name, dir_fd) as fd:
        content = descriptors.names(fd)
    return not content or ".git" in content
