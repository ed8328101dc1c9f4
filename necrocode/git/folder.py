"""A user's own checkout used as a slot: looked at before, saved, and given back as it was.

The rule for files of theirs that git does not track. *Ignored* ones are never looked at. The other *untracked* ones
that are there before the run are saved with the rest; one of them is no part of a snapshot while it is what it was, is
one as soon as the run changes it, and is back as it was after every restore and at the end, also if the run deleted it.
Nothing in the user's ``.git`` is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import pygit2
from pygit2.enums import RepositoryOpenFlag, RepositoryState

from necrocode.disk import file_errors
from necrocode.drafts import replace_file
from necrocode.engine.errors import EnvironmentFault, TaskError
from necrocode.engine.folders import make_folder
from necrocode.git import descriptors
from necrocode.git.command import run_git
from necrocode.git.memory import KnownDirectory
from necrocode.git.objects import GITLINK, Entry, ObjectStore, shown, store_errors
from necrocode.git.unsupported import refuse_filters
from necrocode.git.walk import Walker

_EMPTY_BLOB = bytes.fromhex("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
_SHOWN = 5
_ORIGINS_KEPT = 100


@dataclass(frozen=True, slots=True)
class Checkout:
    """What a user's checkout is, as its ``.git`` says before the run."""

    path: Path
    head: str
    #: Everything that HEAD's tree holds.
    files: Mapping[str, Entry]
    #: URL of the remote named ``origin``.
    origin: str | None
    #: Contents of the user's own ignore files beside ``.gitignore``: ``core.excludesFile``, ``info/exclude``.
    patterns: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """What is written down while a run uses the folder."""

    run_id: str
    #: Tree of all that was there (ignored files aside).
    tree: str
    #: Tree of the part of it that git did not track.
    theirs: str
    #: Names that HEAD had, as a tree.
    tracked: str
    patterns: tuple[str, ...]


def look_at(path: Path) -> Checkout:
    """Read what the checkout at ``path`` is. Raises :class:`TaskError` ``slot_unusable`` or ``unsupported_repo``.

    Only refs, configuration and trees are read, through libgit2, which runs nothing that they name.
    """
    if not path.is_dir():
        raise TaskError(f"slot_path {path} is not a folder", stop_reason="slot_unusable")
    try:
        repository = pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError as error:
        known = (path / ".git").exists()
        raise TaskError(
            f"slot_path {path} is {'of a kind that is not supported' if known else 'no git checkout'}: {error}",
            stop_reason="unsupported_repo" if known else "slot_unusable",
        ) from error
    with store_errors(path):
        _refuse_kinds(path, repository)
        if repository.head_is_unborn:
            raise TaskError(f"slot_path {path} has no commit yet", stop_reason="repo_empty")
        commit = repository.head.peel(pygit2.Commit)
        origin = _said(repository, "remote.origin.url") or None
    store = ObjectStore(path, repository=repository)
    refuse_filters(store, commit.tree_id.raw)
    files = dict(store.flatten(commit.tree_id.raw))
    return Checkout(path, str(commit.id), files, origin, _patterns(Path(repository.path)))


def refuse_dirty(checkout: Checkout) -> None:
    """Raise :class:`TaskError` ``slot_dirty`` if a tracked file is not what HEAD says, byte for byte."""
    with store_errors(checkout.path):
        repository = pygit2.Repository(str(checkout.path), RepositoryOpenFlag.NO_SEARCH)
        tree = repository[pygit2.Oid(hex=checkout.head)].peel(pygit2.Tree).id.raw
    walker = Walker(
        ObjectStore(checkout.path, repository=repository), tracked=[tree], theirs={}, patterns=checkout.patterns
    )
    with file_errors(checkout.path, reason="slot_unusable"), descriptors.directory(checkout.path) as fd:
        walker.walk(fd, keep=False)
    found = dict(_files(walker.top))
    changed = [path for path, entry in checkout.files.items() if entry[0] != GITLINK and found.get(path) != entry]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise TaskError(
            f"{checkout.path} has uncommitted changes ({', '.join(map(shown, changed[:_SHOWN]))}{more}): commit or "
            "stash them, or name a repo_url (line endings that git converts count as changes)",
            stop_reason="slot_dirty",
        )


def refuse_collisions(checkout: Checkout, known: KnownDirectory, target: Mapping[str, Entry]) -> None:
    """Raise :class:`TaskError` ``slot_dirty`` if an untracked or ignored file is where ``target`` has one."""
    there = dict(_files(known))
    blocked: list[str] = []
    with file_errors(checkout.path, reason="slot_unusable"), descriptors.directory(checkout.path) as fd:
        for path, entry in target.items():
            if path in checkout.files or there.get(path) == entry:
                continue
            in_the_way = _in_the_way(fd, path, checkout.files)
            if in_the_way is not None:
                blocked.append(in_the_way)
    if blocked:
        raise TaskError(
            f"untracked or ignored files in {checkout.path} are in the way of the repository's own: "
            f"{', '.join(map(shown, blocked[:_SHOWN]))}: move them away",
            stop_reason="slot_dirty",
        )


def names_tree(store: ObjectStore, checkout: Checkout) -> bytes:
    """A tree in ``store`` with the names that HEAD has; their content may not be in this store."""
    return store.build(
        {path: (mode, oid if mode == GITLINK else _EMPTY_BLOB) for path, (mode, oid) in checkout.files.items()}
    )


def write_empty_blob(store: ObjectStore) -> None:
    """What :func:`names_tree` fills its trees with."""
    store.write_blob(_EMPTY_BLOB, b"", "")


def load_saved(state: Path) -> Saved | None:
    """What a run wrote down about the folder, if one uses it. Raises :class:`EnvironmentFault` ``slot_damaged``."""
    path = state / "saved.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return Saved(
            run_id=str(value["run_id"]),
            tree=str(value["tree"]),
            theirs=str(value["theirs"]),
            tracked=str(value["tracked"]),
            patterns=tuple(map(str, value["patterns"])),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(f"{path} is damaged: {error}", stop_reason="slot_damaged") from error


def save(state: Path, saved: Saved) -> None:
    """Write it down, synced."""
    _write_synced(state / "saved.json", json.dumps(asdict(saved)))


def forget(state: Path) -> None:
    """The folder is given back: nothing is remembered of it but which run's origin was what."""
    for name in ("tracked.json", "files.json", "saved.json"):
        (state / name).unlink(missing_ok=True)


def fix_origin(state: Path, run_id: str, origin: str | None) -> None:
    """Write down the run's remote the first time it gets the folder: later the model has had the ``.git``."""
    known = _origins(state)
    if run_id not in known and origin is not None:
        kept = dict(list(known.items())[-_ORIGINS_KEPT:])
        _write_synced(state / "origin.json", json.dumps({**kept, run_id: origin}))


def origin_of(state: Path, run_id: str) -> str | None:
    """The remote that :func:`fix_origin` wrote down for the run."""
    return _origins(state).get(run_id)


def _origins(state: Path) -> dict[str, str]:
    try:
        value = json.loads((state / "origin.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _write_synced(path: Path, text: str) -> None:
    make_folder(path.parent)
    replace_file(path, text.encode("utf-8"))


def _refuse_kinds(path: Path, repository: pygit2.Repository) -> None:
    def says(name: str) -> str:
        return _said(repository, name).lower()

    kind = None
    if repository.is_bare:
        kind = "a bare repository"
    elif says("extensions.objectformat") not in ("", "sha1"):
        kind = f"a {says('extensions.objectformat')} repository"
    elif says("extensions.refstorage") not in ("", "files"):
        kind = f"a repository with {says('extensions.refstorage')} refs"
    elif says("core.sparsecheckout") in ("true", "1", "yes", "on"):
        kind = "a sparse checkout"
    elif says("extensions.partialclone"):
        kind = "a partial clone"
    if kind is not None:
        raise TaskError(f"slot_path {path} is {kind}, which is not supported", stop_reason="unsupported_repo")
    state = repository.state()
    if state != RepositoryState.NONE:
        raise TaskError(
            f"slot_path {path} is in the middle of a {state.name.lower().replace('_', ' ')}: finish or abort it",
            stop_reason="slot_dirty",
        )


def _said(repository: pygit2.Repository, name: str) -> str:
    """What the repository's configuration says about ``name``; empty if nothing."""
    config = repository.config
    return str(config[name]) if name in config else ""


def _patterns(git_dir: Path) -> tuple[bytes, ...]:
    found: list[bytes] = []
    configured = run_git(
        ["config", "--get", "--type=path", "core.excludesFile"], timeout=timedelta(seconds=10), users_settings=True
    )
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    name = configured.stdout.decode("utf-8", "surrogateescape").strip() if configured.ok else f"{base}/git/ignore"
    for path in (Path(name), git_dir / "info" / "exclude"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return tuple(found)


def _files(known: KnownDirectory, prefix: str = "") -> list[tuple[str, Entry]]:
    found = [(prefix + name, (mode, oid)) for name, (_, mode, oid) in known.files.items()]
    found += [(prefix + name, (GITLINK, oid)) for name, oid in known.links.items()]
    for name, child in known.directories.items():
        found += _files(child, f"{prefix}{name}/")
    return found


def _in_the_way(top_fd: int, path: str, tracked: Mapping[str, Entry]) -> str | None:
    """The untracked thing at ``path`` or above it that a file there would replace."""
    parts = path.split("/")
    with contextlib.ExitStack() as stack:
        fd = top_fd
        for depth, name in enumerate(parts):
            here = "/".join(parts[: depth + 1])
            kind = descriptors.kind_of(name, fd)
            if kind is None or (here in tracked and kind != stat.S_IFDIR):
                return None
            if kind != stat.S_IFDIR:
                return here
            fd = stack.enter_context(descriptors.directory(name, fd))
        return _untracked_below(fd, f"{path}/", tracked)


def _untracked_below(fd: int, prefix: str, tracked: Mapping[str, Entry]) -> str | None:
    for name in descriptors.names(fd):
        if descriptors.kind_of(name, fd) == stat.S_IFDIR:
            with descriptors.directory(name, fd) as inner:
                found = _untracked_below(inner, f"{prefix}{name}/", tracked)
            if found is not None:
                return found
        elif prefix + name not in tracked:
            return prefix + name
    return None
