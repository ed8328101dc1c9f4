"""A bare repository that we alone write to: blobs, trees, commits and refs, synced to disk as they are written.

Trees are read and written as the bytes they are, so that every name git can hold survives.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, RepositoryOpenFlag

from necrocode.disk import disk_trouble
from necrocode.drafts import replace_file
from necrocode.engine.errors import EnvironmentFault, TaskError
from necrocode.engine.folders import make_folder, sync_content, sync_directory

_DRAFT = ".new.lock"
"""What a ref that is being written is called: git takes it for somebody's lock, and looks no closer."""

Entry: TypeAlias = tuple[int, bytes]
"""Mode and object id (20 bytes) of one name in a tree."""

FILE, EXECUTABLE, LINK, GITLINK, TREE = 0o100644, 0o100755, 0o120000, 0o160000, 0o040000

EMPTY_TREE = bytes.fromhex("4b825dc642cb6eb9a060e54bf8d69288fbee4904")

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")

# What the user's own configuration says is not for these repositories; every object reaches the disk before its name
# is told to anyone; and a store that another user made (a mounted home) is still ours.
for _level in (ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.SYSTEM):
    pygit2.settings.search_path[_level] = ""
pygit2.settings.enable_fsync_gitdir(True)
pygit2.settings.owner_validation = False


class ObjectStore:
    """The repository at ``path`` (bare). ``found_secret`` names a credential that new content holds, if any."""

    def __init__(
        self,
        path: Path,
        *,
        found_secret: Callable[[bytes], str | None] = lambda _: None,
        repository: pygit2.Repository | None = None,
    ) -> None:
        """``repository``: read this one instead, which is not ours."""
        self.path = path
        self._found_secret = found_secret
        with store_errors(path):
            self.repository = repository or pygit2.Repository(
                str(path), RepositoryOpenFlag.BARE | RepositoryOpenFlag.NO_SEARCH
            )
        self._known: set[bytes] = set()
        self._trees: dict[bytes, Mapping[str, Entry]] = {}

    def has(self, oid: bytes) -> bool:
        """Whether the object is there, or in the cache that this store borrows from."""
        if oid in self._known:
            return True
        if pygit2.Oid(raw=oid) not in self.repository:
            return False
        self._known.add(oid)
        return True

    def write_blob(self, oid: bytes, content: bytes, path: str) -> None:
        """Keep a file's content, if it is new. Raises :class:`TaskError` ``secret_in_diff`` for a loaded credential."""
        if self.has(oid):
            return
        self.refuse_secret(content, path)
        with store_errors(self.path):
            self.repository.write(ObjectType.BLOB, content)
        self._known.add(oid)

    def refuse_secret(self, content: bytes, path: str) -> None:
        """Raise :class:`TaskError` ``secret_in_diff`` if ``content``, found at ``path``, holds a loaded credential."""
        name = self._found_secret(content)
        if name is not None:
            raise TaskError(
                f"{shown(path)} holds the credential {name}: it is neither stored nor pushed; take it out of the file",
                stop_reason="secret_in_diff",
            )

    def read_blob(self, oid: bytes) -> bytes:
        """A file's content."""
        with store_errors(self.path):
            kind, content = self.repository.read(pygit2.Oid(raw=oid))
        if kind != ObjectType.BLOB:
            raise EnvironmentFault(f"{oid.hex()} in {self.path} is no file", stop_reason="store_damaged")
        return content

    def read_tree(self, oid: bytes) -> Mapping[str, Entry]:
        """The names of one directory."""
        if oid == EMPTY_TREE:
            return {}
        known = self._trees.get(oid)
        if known is not None:
            return known
        with store_errors(self.path):
            kind, content = self.repository.read(pygit2.Oid(raw=oid))
        if kind != ObjectType.TREE:
            raise EnvironmentFault(f"{oid.hex()} in {self.path} is no tree", stop_reason="store_damaged")
        if len(self._trees) > 20_000:
            self._trees.clear()
        return self._trees.setdefault(oid, parse_tree(content))

    def write_tree(self, oid: bytes, content: bytes) -> None:
        """Keep a directory whose entries are all there."""
        if self.has(oid):
            return
        with store_errors(self.path):
            self.repository.write(ObjectType.TREE, content)
        self._known.add(oid)

    def commit_of(self, commit: str) -> pygit2.Commit:
        """The commit. Raises :class:`EnvironmentFault` ``store_damaged`` if it is not there."""
        with store_errors(self.path):
            found = self.repository.get(pygit2.Oid(hex=commit))
        if not isinstance(found, pygit2.Commit):
            raise EnvironmentFault(f"commit {commit} is missing in {self.path}", stop_reason="store_damaged")
        return found

    def tree_of(self, commit: str) -> bytes:
        """The tree of a commit."""
        return self.commit_of(commit).tree_id.raw

    def flatten(self, tree: bytes, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Every path below ``tree`` that is no directory, in git's order of names within each directory."""
        for name, (mode, oid) in self.read_tree(tree).items():
            if mode == TREE:
                yield from self.flatten(oid, f"{prefix}{name}/")
            else:
                yield prefix + name, (mode, oid)

    def build(self, entries: Mapping[str, Entry]) -> bytes:
        """Write the trees that hold these paths; returns the top one."""
        here: dict[str, Entry] = {}
        below: dict[str, dict[str, Entry]] = {}
        for path, entry in entries.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = entry
            else:
                here[first] = entry
        for name, inner in below.items():
            here[name] = (TREE, self.build(inner))
        content = format_tree(here)
        oid = object_id(b"tree", content)
        self.write_tree(oid, content)
        return oid

    def edit(self, tree: bytes, edits: Mapping[str, Entry | None]) -> bytes:
        """``tree`` with other entries at these paths, or none; what is in the way of one gives way."""
        here = dict(self.read_tree(tree))
        below: dict[str, dict[str, Entry | None]] = {}
        for path, entry in edits.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = entry
            elif entry is not None:
                here[first] = entry
            elif here.get(first, (TREE, b""))[0] != TREE:
                del here[first]
        for name, inner in below.items():
            before = here.get(name)
            if before is None or before[0] != TREE:
                if not any(inner.values()):
                    continue
                before = (TREE, EMPTY_TREE)
            after = self.edit(before[1], inner)
            here[name] = (TREE, after)
            if after == EMPTY_TREE:
                del here[name]
        content = format_tree(here)
        oid = object_id(b"tree", content)
        self.write_tree(oid, content)
        return oid

    def commit(self, tree: bytes, parents: list[str], message: str, *, name: str, email: str, at: datetime) -> str:
        """Make a commit, its time in whole seconds and UTC; the same arguments give the same id."""
        with store_errors(self.path):
            signature = pygit2.Signature(_person(name) or "necrocode", _person(email), int(at.timestamp()), 0, "utf-8")
            made = self.repository.create_commit(
                None,
                signature,
                signature,
                message if message.endswith("\n") else message + "\n",
                pygit2.Oid(raw=tree),
                [pygit2.Oid(hex=parent) for parent in parents],
            )
        return str(made)

    def ref(self, name: str) -> str | None:
        """The commit that a ref names."""
        with store_errors(self.path):
            found = self.repository.references.get(name)
        return None if found is None else str(found.target)

    def refs(self, prefix: str) -> dict[str, str]:
        """Every ref whose name starts so, and its commit."""
        with store_errors(self.path):
            names = [name for name in self.repository.references if name.startswith(prefix)]
        return {name: target for name in names if (target := self.ref(name)) is not None}

    def set_ref(self, name: str, commit: str) -> None:
        """Point a ref at a commit, synced. Only one writer per ref: names of runs are in it."""
        # By hand, since libgit2 takes ten times as long for it (1.2 ms here) and every turn of a run needs one.
        path = self.path / name
        make_folder(path.parent)
        # Not the name of git's own lock: one that a death leaves must stop nobody, and is written over.
        replace_file(path, commit.encode() + b"\n", mode=0o644, suffix=_DRAFT)

    def descends(self, commit: str, ancestor: str) -> bool:
        """Whether ``commit`` stands on ``ancestor``. Both must be there, or in the cache."""
        with store_errors(self.path):
            return bool(self.repository.descendant_of(pygit2.Oid(hex=commit), pygit2.Oid(hex=ancestor)))

    def delete_ref(self, name: str) -> None:
        """Forget a ref, and what a death left of writing it; none is fine."""
        with store_errors(self.path):
            found = self.repository.references.get(name)
            if found is not None:
                found.delete()
            (self.path / f"{name}{_DRAFT}").unlink(missing_ok=True)


def parse_tree(content: bytes) -> dict[str, Entry]:
    """Names, modes and ids from the bytes of a tree."""
    found: dict[str, Entry] = {}
    at = 0
    while at < len(content):
        nul = content.index(b"\0", at)
        mode, _, name = content[at:nul].partition(b" ")
        found[os.fsdecode(name)] = (_canonical(int(mode, 8)), content[nul + 1 : nul + 21])
        at = nul + 21
    return found


def format_tree(entries: Mapping[str, Entry]) -> bytes:
    """The bytes of a tree, in git's order: a directory sorts as if its name ended in ``/``."""
    rows = []
    for name, (mode, oid) in entries.items():
        raw = os.fsencode(name)
        rows.append((raw + b"/" if mode == TREE else raw, b"%o %b\0%b" % (mode, raw, oid)))
    rows.sort()
    return b"".join([row for _, row in rows])


def object_id(kind: bytes, content: bytes) -> bytes:
    """The id git gives an object: 20 bytes."""
    digest = hashlib.sha1(b"%b %d\0" % (kind, len(content)), usedforsecurity=False)
    digest.update(content)
    return digest.digest()


def run_ref(run_id: str, kind: str = "runs") -> str:
    """The ref of a run: ``runs`` (its snapshots, the newest first), ``saved``, ``left``, or the folder ``commits``."""
    if not _RUN_ID.match(run_id) or ".." in run_id or run_id.endswith((".lock", ".")):
        raise ValueError(f"{run_id!r} cannot be part of a ref's name")
    return f"refs/necrocode/{kind}/{run_id}"


def shown(path: str) -> str:
    """A path as a message may hold it: no control characters, no undecodable bytes."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in path)


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what libgit2 raises about the repository at ``path`` into an :class:`EnvironmentFault`."""
    try:
        yield
    except (pygit2.GitError, OSError, KeyError, ValueError) as error:
        trouble = disk_trouble(path, error)
        if trouble is not None:
            raise trouble from error
        raise EnvironmentFault(f"{path} cannot be used: {error}", stop_reason="store_damaged") from error


def make_bare(path: Path, *, alternates: Path | None) -> None:
    """Make the repository at ``path``, complete or not at all. The caller holds the repository's lock.

    git never tidies it by itself: only an explicit collection packs or prunes.
    """
    if path.exists():
        return
    # One name is enough under the lock, and what a killed process left there is in nobody's use.
    building = path.with_name(f"{path.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    with store_errors(path):
        repository = pygit2.init_repository(str(building), bare=True)
        # libgit2 says that it has this one, always, and then cannot read it.
        repository.write(ObjectType.TREE, b"")
        repository.config["gc.auto"] = 0
        repository.config["gc.writeCommitGraph"] = False
        repository.config["receive.autogc"] = False
        repository.config["maintenance.auto"] = False
        repository.config["core.logAllRefUpdates"] = False
    (building / "info").mkdir(exist_ok=True)
    (building / "info" / "attributes").write_text("* -text -filter\n")
    # libgit2 syncs an object and its folder, not that folder's own entry in the one above: made here, and synced.
    for number in range(256):
        (building / "objects" / f"{number:02x}").mkdir(exist_ok=True)
    if alternates is not None:
        (building / "objects" / "info").mkdir(exist_ok=True)
        (building / "objects" / "info" / "alternates").write_bytes(bytes(alternates / "objects") + b"\n")
    sync_content(building)
    building.rename(path)
    sync_directory(path.parent)


def _canonical(mode: int) -> int:
    # Old repositories hold 100664; git reads it as 100644.
    if mode & 0o170000 == 0o100000:
        return EXECUTABLE if mode & 0o100 else FILE
    return mode


def _person(text: str) -> str:
    return re.sub(r"[<>\x00-\x1f]", "", text).strip()


LOCK_TIMEOUT = timedelta(minutes=10)
"""How long to wait for another process that fetches the same repository."""
