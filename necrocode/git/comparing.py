"""Trees looked at, and compared: a patch that ``git apply`` takes, a summary, a bundle of commits."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Literal

import pygit2

from necrocode.engine.errors import EnvironmentFault
from necrocode.git.command import run_git, words
from necrocode.git.objects import EXECUTABLE, FILE, TREE, Entry, ObjectStore, shown, store_errors
from necrocode.states.ports import ChangedFile


def patch(store: ObjectStore, base: bytes, tree: bytes) -> bytes:
    """A unified diff with binary patches, exact to the byte."""
    # By the git command: the artifact is handed to git apply, and git knows best what that reads.
    result = run_git(
        ["diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv",
         "--src-prefix=a/", "--dst-prefix=b/", base.hex(), tree.hex()],
        git_dir=store.path,
    )  # fmt: skip
    if not result.ok:
        raise EnvironmentFault(
            f"git diff-tree in {store.path} failed: {words(result.stderr)}", stop_reason="store_damaged"
        )
    return result.stdout


def changes(store: ObjectStore, base: bytes, tree: bytes) -> list[ChangedFile]:
    """The files that differ, in path order, with the lines that differ (none for binary files)."""
    found = []
    for path, before, after in _differing(store, base, tree):
        added, deleted = _lines(store, before, after)
        found.append(ChangedFile(path=path, status=_status(before, after), added_lines=added, deleted_lines=deleted))
    return sorted(found, key=lambda change: change.path)


def carry(store: ObjectStore, *, before: bytes, after: bytes, onto: bytes) -> bytes:
    """The tree ``onto`` with each file that differs between ``before`` and ``after`` as ``after`` has it (or not)."""
    return store.edit(onto, {path: new for path, _, new in _differing(store, before, after)})


def paths(store: ObjectStore, tree: bytes) -> list[str]:
    """Every path in ``tree`` that is no folder, as text."""
    return [os.fsencode(path).decode("utf-8", "replace") for path, _ in store.flatten(tree)]


def content(store: ObjectStore, tree: bytes, path: str, max_bytes: int) -> bytes | None:
    """The bytes of the regular file at ``path``; ``None`` if there is none, or it is larger than that."""
    *folders, name = path.split("/")
    for folder in folders:
        mode, tree = store.read_tree(tree).get(folder, (0, b""))
        if mode != TREE:
            return None
    mode, oid = store.read_tree(tree).get(name, (0, b""))
    if mode not in (FILE, EXECUTABLE):
        return None
    found = store.read_blob(oid)
    return found if len(found) <= max_bytes else None


def bundle(store: ObjectStore, commit: str, base_commit: str) -> bytes:
    """A git bundle of ``base_commit..commit`` whose ref is HEAD. ``ValueError`` if there is nothing between them."""
    if commit == base_commit:
        raise ValueError("a bundle needs at least one commit beyond its base")
    # The header is written here: git takes the ref's name from HEAD, which many runs share in this repository.
    header = f"# v2 git bundle\n-{base_commit} base\n{commit} HEAD\n\n".encode()
    result = run_git(
        ["pack-objects", "--revs", "--thin", "--stdout", "--quiet", "--threads=1", "--delta-base-offset"],
        git_dir=store.path,
        stdin=f"{commit}\n^{base_commit}\n".encode(),
    )
    if not result.ok:
        raise EnvironmentFault(
            f"git pack-objects in {store.path} failed: {words(result.stderr)}", stop_reason="store_damaged"
        )
    return header + result.stdout


def _differing(
    store: ObjectStore, base: bytes | None, tree: bytes | None, prefix: str = ""
) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    before = {} if base is None else store.read_tree(base)
    after = {} if tree is None else store.read_tree(tree)
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        old_tree = old[1] if old is not None and old[0] == TREE else None
        new_tree = new[1] if new is not None and new[0] == TREE else None
        if old_tree is not None or new_tree is not None:
            yield from _differing(store, old_tree, new_tree, f"{prefix}{name}/")
        old_file, new_file = (None if old_tree is not None else old), (None if new_tree is not None else new)
        if old_file is not None or new_file is not None:
            yield prefix + name, old_file, new_file


def _status(before: Entry | None, after: Entry | None) -> Literal["A", "M", "D", "T"]:
    if before is None:
        return "A"
    if after is None:
        return "D"
    if stat.S_IFMT(before[0]) != stat.S_IFMT(after[0]) or before[1] == after[1]:
        return "T"
    return "M"


def _lines(store: ObjectStore, before: Entry | None, after: Entry | None) -> tuple[int, int]:
    with store_errors(store.path):
        old, new = (_blob(store, entry) for entry in (before, after))
        if old is None and new is None:
            return 0, 0
        if old is None:
            # A blob against none is told from the side that exists.
            assert new is not None
            patch = new.diff_to_buffer(None)
        else:
            patch = old.diff_to_buffer(None if new is None else new.data)
        if patch.delta.is_binary:
            return 0, 0
        _, added, deleted = patch.line_stats
    return (deleted, added) if old is None else (added, deleted)


def _blob(store: ObjectStore, entry: Entry | None) -> pygit2.Blob | None:
    if entry is None or not (stat.S_ISREG(entry[0]) or stat.S_ISLNK(entry[0])):
        return None
    found = store.repository.get(pygit2.Oid(raw=entry[1]))
    if not isinstance(found, pygit2.Blob):
        raise EnvironmentFault(f"{shown(entry[1].hex())} in {store.path} is no file", stop_reason="store_damaged")
    return found
