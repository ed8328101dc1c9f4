"""What is remembered of a slot's files from one walk to the next, so that unchanged ones are not read again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from necrocode.drafts import replace_file
from necrocode.engine.identity import ProcessIdentity
from necrocode.git.ignore import Rules
from necrocode.git.objects import EMPTY_TREE

State: TypeAlias = tuple[int, int, int, int, int]
"""st_mode, st_size, st_mtime_ns, st_ctime_ns, st_ino."""

KnownFile: TypeAlias = tuple[State | None, int, bytes]
"""The state in which the file was hashed (``None``: it may have changed in the same tick of the clock, look again), its
mode in a tree, its blob."""

_FORMAT = 2
#: File systems that keep whole seconds only are recognised by them, and get two.
_TICK_NS, _COARSE_TICK_NS, _SECOND_NS = 20_000_000, 2_000_000_000, 1_000_000_000


@dataclass(slots=True, eq=False)
class KnownDirectory:
    """One directory, as the last walk saw it."""

    #: Managed: tracked or not ignored.
    files: dict[str, KnownFile] = field(default_factory=dict)
    directories: dict[str, KnownDirectory] = field(default_factory=dict)
    #: Submodules, kept as the commit that their tree names.
    links: dict[str, bytes] = field(default_factory=dict)
    #: Everything else (ignored, ``.git``, sockets…); True for a directory, ``None`` to be judged anew by every walk.
    unmanaged: dict[str, bool | None] = field(default_factory=dict)
    #: The directory itself is ignored: only what is tracked in it counts.
    hidden: bool = False
    #: Of the managed files; ``None`` until it is computed.
    tree: bytes | None = None
    #: What the decisions above were made by; never written down.
    rules: Rules | None = None
    rules_above: Rules | None = None
    own_patterns: bytes = b""
    generation: int = -1

    @property
    def empty(self) -> bool:
        """Nothing in it is managed."""
        return self.tree == EMPTY_TREE

    def forget_trees(self) -> None:
        """Compute the trees anew next time, from the files as they are known."""
        self.tree = None
        for child in self.directories.values():
            child.forget_trees()


def state_of(result: os.stat_result) -> State:
    """The part of a file's status that changes whenever its content may have."""
    return (result.st_mode, result.st_size, result.st_mtime_ns, result.st_ctime_ns, result.st_ino)


def settled(result: os.stat_result, now_ns: int) -> State | None:
    """The state, if a change after ``now_ns`` is bound to change it too; else ``None``.

    The rule of git's index ("racily clean"), by ctime, which nobody can set.
    """
    tick = _COARSE_TICK_NS if result.st_ctime_ns % _SECOND_NS == 0 else _TICK_NS
    return state_of(result) if result.st_ctime_ns + tick < now_ns else None


def save(path: Path, top: KnownDirectory) -> None:
    """Keep it for the next process. A cache: not synced, and nothing is lost with it.

    Good for this boot only: after a power cut a file may have the state in which it was hashed, and not the content.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = json.dumps([_FORMAT, _boot(), _to_json(top)], separators=(",", ":"))
    replace_file(path, content.encode("ascii"), synced=False)


def load(path: Path) -> KnownDirectory | None:
    """What :func:`save` kept, if it is there, whole, and of this boot."""
    try:
        version, boot, top = json.loads(path.read_text(encoding="ascii"))
        return _from_json(top) if (version, boot) == (_FORMAT, _boot()) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _boot() -> str:
    return ProcessIdentity.current().boot_id


def _to_json(known: KnownDirectory) -> list[Any]:
    return [
        {name: [*(state or (0, 0, 0, 0, 0)), mode, oid.hex()] for name, (state, mode, oid) in known.files.items()},
        {name: _to_json(child) for name, child in known.directories.items()},
        {name: oid.hex() for name, oid in known.links.items()},
        known.hidden,
        known.tree.hex() if known.tree else None,
    ]


def _from_json(value: list[Any]) -> KnownDirectory:
    files, directories, links, hidden, tree = value
    known = KnownDirectory(hidden=bool(hidden), tree=bytes.fromhex(tree) if tree else None)
    for name, (st_mode, size, mtime, ctime, inode, mode, oid) in files.items():
        state = (st_mode, size, mtime, ctime, inode) if ctime else None
        known.files[name] = (state, mode, bytes.fromhex(oid))
    known.directories = {name: _from_json(child) for name, child in directories.items()}
    known.links = {name: bytes.fromhex(oid) for name, oid in links.items()}
    return known
