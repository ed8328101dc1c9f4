"""What keeps a run's objects alive in the snapshot store, and what lets go of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from necrocode.engine.database import file_lock
from necrocode.engine.errors import EnvironmentFault
from necrocode.git.command import run_git, words
from necrocode.git.layout import RepoPlace
from necrocode.git.objects import LOCK_TIMEOUT, ObjectStore, run_ref

KINDS = ("runs", "saved", "left")
"""A run's refs: its snapshots; a user's folder as it was before; that folder as the run left it."""


class RunSnapshots:
    """The snapshots of one run: a chain of commits, the newest under ``refs/necrocode/runs/<run_id>``.

    Every tree that was handed out stays reachable, since an outcome in the journal may name any of them
    (``git log -p refs/necrocode/runs/<run_id>`` in the store shows what the run did, step by step).
    """

    def __init__(self, store: ObjectStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._ref = run_ref(run_id)
        self._head: str | None = None
        self._tree: bytes | None = None
        self._looked = False

    def keep(self, tree: bytes) -> None:
        """Add a tree to the chain, unless it is the newest already. Synced."""
        if not self._looked:
            self._head = self._store.ref(self._ref)
            self._tree = None if self._head is None else self._store.tree_of(self._head)
            self._looked = True
        if tree == self._tree:
            return
        self._head = keep_tree(self._store, self._ref, tree, parents=[] if self._head is None else [self._head])
        self._tree = tree


def keep_tree(store: ObjectStore, ref: str, tree: bytes, *, parents: list[str]) -> str:
    """Point ``ref`` at a new commit of ``tree``; returns the commit."""
    commit = store.commit(
        tree, parents, "snapshot", name="necrocode", email="necrocode@localhost", at=datetime.now(UTC)
    )
    store.set_ref(ref, commit)
    return commit


def forget_run(store: ObjectStore, run_id: str) -> None:
    """Let go of everything that was kept for an ended run; :func:`collect` frees the space."""
    for kind in KINDS:
        store.delete_ref(run_ref(run_id, kind))
    for name in store.refs(run_ref(run_id, "commits") + "/"):
        store.delete_ref(name)


def kept_runs(store: ObjectStore) -> set[str]:
    """The runs that something is kept for."""
    found = set()
    for name in store.refs("refs/necrocode/"):
        parts = name.split("/")
        if len(parts) > 3 and parts[2] in (*KINDS, "commits"):
            found.add(parts[3])
    return found


def collect(place: RepoPlace, *, grace: timedelta = timedelta(days=2)) -> None:
    """Pack the store and remove what nothing refers to and is older than ``grace``.

    The only place where anything in a store is ever removed. ``grace`` covers what a live run has written and not yet
    kept: never less than an hour. The cache is left alone.
    """
    if not place.store.exists():
        return
    seconds = int(max(grace, timedelta(hours=1)).total_seconds())
    with file_lock(place.lock, LOCK_TIMEOUT):
        # Refs stay the synced files that they are: packed, they would survive no power cut.
        result = run_git(
            ["-c", "core.fsync=all", "-c", "gc.packRefs=false", "gc", "--quiet", f"--prune={seconds}.seconds.ago"],
            git_dir=place.store,
        )
    if not result.ok:
        raise EnvironmentFault(f"git gc in {place.store} failed: {words(result.stderr)}", stop_reason="store_damaged")
