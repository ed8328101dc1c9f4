"""The ``.git`` of a pool's slot: written by our own hand, file by file, never read again."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from necrocode.git import descriptors
from necrocode.git.memory import KnownDirectory
from necrocode.git.objects import GITLINK, ObjectStore

_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
\thooksPath = /dev/null
[gc]
\tauto = 0
[maintenance]
\tauto = false
[user]
\tname = necrocode
\temail = necrocode@localhost
"""


def write(
    slot_fd: int,
    known: KnownDirectory,
    store: ObjectStore,
    *,
    commit: str,
    alternates: list[Path],
    branches: Mapping[str, str],
    url: str,
) -> None:
    """Make a fresh ``.git`` in the slot, where none is.

    HEAD is detached at ``commit`` and the index holds its tree, with the states of the files as they lie (``known``),
    so that ``git status`` shows what the run changed, and quickly. ``branches`` become remote branches of ``origin``.
    """
    descriptors.make_directory(".git", slot_fd)
    with descriptors.directory(".git", slot_fd) as fd:
        for name in ("objects", "refs", "info"):
            descriptors.make_directory(name, fd)
        with descriptors.directory("objects", fd) as objects:
            for name in ("info", "pack"):
                descriptors.make_directory(name, objects)
            with descriptors.directory("info", objects) as info:
                paths = b"".join(bytes(path / "objects") + b"\n" for path in alternates)
                descriptors.write_file("alternates", paths, info, executable=False)
        with descriptors.directory("refs", fd) as refs:
            for name in ("heads", "tags"):
                descriptors.make_directory(name, refs)
        packed = [f"{target} refs/remotes/origin/{branch}\n" for branch, target in sorted(branches.items())]
        files = {
            "config": (_CONFIG + _origin(url)).encode(),
            "packed-refs": ("# pack-refs with: peeled fully-peeled sorted \n" + "".join(packed)).encode(),
            "index": _index(store, store.tree_of(commit), known, os.fstat(slot_fd)),
            "HEAD": commit.encode() + b"\n",
        }
        for name, content in files.items():
            descriptors.write_file(name, content, fd, executable=False)


def _origin(url: str) -> str:
    quoted = url.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'[remote "origin"]\n\turl = "{quoted}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'


def _index(store: ObjectStore, tree: bytes, known: KnownDirectory, slot: os.stat_result) -> bytes:
    """A version 2 index (gitformat-index). Files that are not what the tree says get no state: git looks at them."""
    rows: list[tuple[bytes, bytes]] = []
    uid, gid, device = os.geteuid(), slot.st_gid if slot.st_mode & 0o2000 else os.getegid(), slot.st_dev
    directories: dict[str, KnownDirectory | None] = {"": known}
    for path, (mode, oid) in store.flatten(tree):
        folder, _, name = path.rpartition("/")
        if folder not in directories:
            directories[folder] = _below(known, folder)
        here = directories[folder]
        file = None if here is None else here.files.get(name)
        state = file[0] if file is not None and file[1:] == (mode, oid) and mode != GITLINK else None
        raw = os.fsencode(path)
        if state is None:
            numbers = struct.pack(">10I", 0, 0, 0, 0, 0, 0, mode, 0, 0, 0)
        else:
            _, size, mtime, ctime, inode = state
            numbers = struct.pack(
                ">10I", ctime // 10**9 & _WORD, ctime % 10**9, mtime // 10**9 & _WORD, mtime % 10**9,
                device & _WORD, inode & _WORD, mode, uid, gid, size & _WORD,
            )  # fmt: skip
        row = numbers + oid + struct.pack(">H", min(len(raw), 0xFFF)) + raw
        # Padded with 1 to 8 NULs to a multiple of eight.
        rows.append((raw, row + b"\0" * (8 - len(row) % 8)))
    rows.sort()
    content = struct.pack(">4sII", b"DIRC", 2, len(rows)) + b"".join([row for _, row in rows])
    return content + hashlib.sha1(content, usedforsecurity=False).digest()


_WORD = 0xFFFFFFFF


def _below(known: KnownDirectory, folder: str) -> KnownDirectory | None:
    found: KnownDirectory | None = known
    for name in folder.split("/") if folder else ():
        found = None if found is None else found.directories.get(name)
    return found
