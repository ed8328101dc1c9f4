"""What a repository may not hold: files that are not in it as they should lie in a slot."""

from __future__ import annotations

import re

from necrocode.engine.errors import TaskError
from necrocode.git.ignore import EMPTY, Rules
from necrocode.git.objects import TREE, ObjectStore, shown

_FILTER = re.compile(rb"^\s*(?P<pattern>\"(?:[^\"\\]|\\.)*\"|[^\s\"#!]\S*)(?=\s)(?:\s+\S+)*?\s+filter=(?P<name>[^\s]+)")


def refuse_filters(store: ObjectStore, tree: bytes) -> None:
    """Raise :class:`TaskError` ``unsupported_repo`` if a file goes through a filter (LFS, git-crypt…) at checkout."""
    for folder, content in _attributes(store, tree, ""):
        for line in content.splitlines():
            match = _FILTER.match(line)
            if match is None:
                continue
            pattern = match["pattern"].strip(b'"')
            rules = Rules(EMPTY, folder, pattern)
            below = tree if not folder else _subtree(store, tree, folder)
            for path, _ in store.flatten(below, folder):
                if rules.ignores(path, False):
                    name = match["name"].decode("utf-8", "replace")
                    what = "Git LFS" if name == "lfs" else f"the filter {shown(name)!r}"
                    raise TaskError(
                        f"{shown(path)} is stored through {what} ({shown(folder)}.gitattributes): not supported",
                        stop_reason="unsupported_repo",
                    )


def _attributes(store: ObjectStore, tree: bytes, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for name, (mode, oid) in store.read_tree(tree).items():
        if mode == TREE:
            found += _attributes(store, oid, f"{prefix}{name}/")
        elif name == ".gitattributes" and mode & 0o170000 == 0o100000:
            content = store.read_blob(oid)
            if b"filter=" in content:
                found.append((prefix, content))
    return found


def _subtree(store: ObjectStore, tree: bytes, folder: str) -> bytes:
    for name in folder.rstrip("/").split("/"):
        tree = store.read_tree(tree)[name][1]
    return tree
