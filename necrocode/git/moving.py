"""Moves a branch's own work onto another base, in memory: a rebase of its files, with conflicts written into them."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pygit2

from necrocode.engine.errors import EnvironmentFault
from necrocode.git.command import run_git, words
from necrocode.git.objects import EMPTY_TREE, ObjectStore, store_errors
from necrocode.states.ports import Rebased

_OTHER = "~branch"


def move(store: ObjectStore, *, branch_commit: str, base_commit: str) -> Rebased:
    """See :meth:`necrocode.states.ports.Workspace.rebase`.

    Conflicts: text gets markers; where one side removed what the other changed, or nothing can be merged (binary files,
    links), the changed file stays, the branch's before the base's. A file in the way of a directory gets ``~branch``
    after its name.
    """
    base_tree, branch_tree = store.tree_of(base_commit), store.tree_of(branch_commit)
    with store_errors(store.path):
        repository = store.repository
        origin = repository.merge_base(pygit2.Oid(hex=branch_commit), pygit2.Oid(hex=base_commit))
        if origin is not None and str(origin) == base_commit:
            return Rebased(tree=branch_tree.hex())
        if origin is not None and str(origin) == branch_commit:
            return Rebased(tree=base_tree.hex())
        ancestor = EMPTY_TREE if origin is None else store.tree_of(str(origin))
        common, ours, theirs = (pygit2.Oid(raw=tree) for tree in (ancestor, base_tree, branch_tree))
        index = repository.merge_trees(common, ours, theirs)
        conflicts: list[str] = []
        if index.conflicts is not None:
            conflicts += [_settle(repository, index, *entries) for entries in list(index.conflicts)]
        tree = index.write_tree(repository)
    return Rebased(tree=str(tree), conflicts=tuple(sorted(set(conflicts))))


def _settle(
    repository: pygit2.Repository,
    index: pygit2.Index,
    ancestor: pygit2.IndexEntry | None,
    ours: pygit2.IndexEntry | None,
    theirs: pygit2.IndexEntry | None,
) -> str:
    """Put one conflicting file into the index as it should stand; returns its path."""
    kept = theirs or ours or ancestor
    assert kept is not None
    path = os.fspath(kept.path)
    del index.conflicts[path]
    if theirs is None and ours is None:
        return path
    entry = pygit2.IndexEntry(path, kept.id, kept.mode)
    if ours is not None and theirs is not None and _text(repository, ours) and _text(repository, theirs):
        merged = _with_markers([b"" if e is None else _content(repository, e) for e in (ours, ancestor, theirs)])
        entry = pygit2.IndexEntry(path, repository.create_blob(merged), theirs.mode)
    if any(os.fspath(other.path).startswith(path + "/") for other in index):
        entry = pygit2.IndexEntry(path + _OTHER, entry.id, entry.mode)
    index.add(entry)
    return os.fspath(entry.path)


def _text(repository: pygit2.Repository, entry: pygit2.IndexEntry) -> bool:
    if entry.mode & 0o170000 != 0o100000:
        return False
    return b"\0" not in _content(repository, entry)[:8000]


def _content(repository: pygit2.Repository, entry: pygit2.IndexEntry) -> bytes:
    return repository.read(entry.id)[1]


def _with_markers(versions: list[bytes]) -> bytes:
    """Three versions (base's, common, branch's) merged, with markers where they disagree."""
    # By the git command: libgit2's binding takes UTF-8 only. In memory: files would outlive a killed process.
    with ExitStack() as stack:
        files = [stack.enter_context(os.fdopen(os.memfd_create("version"), "wb")) for _ in versions]
        for file, content in zip(files, versions, strict=True):
            file.write(content)
            file.flush()
        paths = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in files]
        labels = ["-L", "base", "-L", "common", "-L", "branch"]
        result = run_git(["merge-file", "-p", "--quiet", *labels, "--", *paths])
    if not 0 <= result.exit_code < 128:
        raise EnvironmentFault(f"git merge-file failed: {words(result.stderr)}", stop_reason="git_failed")
    return result.stdout
