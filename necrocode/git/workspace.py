"""The workspace of a run: its slot as a folder of files, the snapshot store, and the remote."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from necrocode.disk import file_errors
from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.engine.stop import StopToken
from necrocode.git import comparing, descriptors, dotgit, folder
from necrocode.git.keeping import RunSnapshots, keep_tree
from necrocode.git.layout import RemoteUrl, RepoPlace, folder_state
from necrocode.git.moving import move
from necrocode.git.objects import Entry, ObjectStore, run_ref
from necrocode.git.remote import CACHED, NETWORK_TIMEOUT, Remote
from necrocode.git.slot import SlotFiles
from necrocode.git.unsupported import refuse_filters
from necrocode.states.ports import ChangedFile, CommitRequest, PushRequest, Rebased, RemoteRefs, SlotAllocation

_KEPT_OPEN = 4


class GitWorkspaces:
    """Opens workspaces (:class:`necrocode.states.ports.Workspaces`) whose stores lie under ``home``.

    ``token``: the configured git token, asked for only when git logs in at the URL's own https host. ``found_secret``:
    the name of a loaded credential in new content. ``mask``: takes credentials out of messages. ``stop_of``: the stop
    token of a run that is driven here, so that git is ended in the middle. ``fence``: raises
    :class:`~necrocode.engine.errors.Superseded` if another process drives the run by now; asked whenever the slot's
    files, which can refuse nobody themselves, are about to be touched.
    """

    def __init__(
        self,
        home: Path,
        *,
        token: Callable[[], str | None] = lambda: None,
        found_secret: Callable[[bytes], str | None] = lambda _: None,
        mask: Callable[[str], str] = lambda text: text,
        stop_of: Callable[[str], StopToken | None] = lambda _: None,
        fence: Callable[[], None] = lambda: None,
        network_timeout: timedelta = NETWORK_TIMEOUT,
    ) -> None:
        self._home = home.resolve()
        self._token = token
        self._found_secret = found_secret
        self._mask = mask
        self._stop_of = stop_of
        self._fence = fence
        self._network_timeout = network_timeout
        self._opened: dict[tuple[SlotAllocation, str, str], GitWorkspace] = {}

    def open(self, loan: SlotAllocation, *, repo_url: str, run_id: str) -> GitWorkspace:
        """The workspace of ``loan``. Touches no file in the slot. ``ValueError``: a run id that no ref can have.

        For a user's own folder, no ``repo_url`` (or the folder itself) stands for the ``origin`` that it had when the
        run first got it. Asked for the same again it is the same object: what it knows of the files is not lost.
        """
        known = self._opened.get((loan, repo_url, run_id))
        if known is not None:
            return known
        if len(self._opened) >= _KEPT_OPEN:
            self._opened.clear()
        return self._opened.setdefault((loan, repo_url, run_id), self._open(loan, repo_url, run_id))

    def _open(self, loan: SlotAllocation, repo_url: str, run_id: str) -> GitWorkspace:
        run_ref(run_id)
        state = state_folder(self._home, loan.slot_path)
        if loan.kind == "folder" and repo_url in ("", str(loan.slot_path)):
            repo_url = folder.origin_of(state, run_id) or ""
        try:
            url = RemoteUrl.parse(repo_url)
        except ValueError as error:
            raise TaskError(
                f"no repository to work with: {self._mask(str(error))}", stop_reason="repo_not_found"
            ) from error
        remote = Remote(
            url,
            RepoPlace(self._home, url.key),
            token=self._token,
            mask=self._mask,
            stop=self._stop_of(run_id),
            timeout=self._network_timeout,
        )
        return GitWorkspace(
            loan, remote, run_id=run_id, state=state, found_secret=self._found_secret, fence=self._fence
        )


class GitWorkspace:
    """One run's workspace; the contract is :class:`necrocode.states.ports.Workspace`. Not for two threads at once."""

    def __init__(
        self,
        loan: SlotAllocation,
        remote: Remote,
        *,
        run_id: str,
        state: Path,
        found_secret: Callable[[bytes], str | None],
        fence: Callable[[], None],
    ) -> None:
        self._loan = loan
        self._remote = remote
        self._run_id = run_id
        self._state = state
        self._found_secret = found_secret
        self._fence = fence
        self._base_branch: str | None = None
        self._files: SlotFiles | None = None

    def take_warnings(self) -> list[str]:
        """What the last snapshots left out and why; each is said once."""
        return [] if self._files is None else self._files.take_warnings()

    # --- the remote ------------------------------------------------------------------------------------------------

    def fetch(self, *, base_branch: str | None, branch: str) -> RemoteRefs:
        """See :class:`necrocode.states.ports.Workspace`."""
        with self._explained():
            self._remote.prepare()
            advertised = self._remote.ask(*([base_branch] if base_branch else []), branch)
            refs = advertised.refs
            if base_branch is None:
                base_branch = self._default_branch(advertised.default, refs.get("HEAD"))
                wanted = {f"refs/heads/{base_branch}": refs["HEAD"]}
            else:
                wanted = {name: commit for name, commit in refs.items() if name == f"refs/heads/{base_branch}"}
                if not wanted:
                    self._refuse_empty()
                    raise TaskError(
                        f"the remote {self._remote.url.url} has no branch {base_branch}", stop_reason="no_base_branch"
                    )
            ours = f"refs/heads/{branch}"
            if ours in refs:
                wanted[ours] = refs[ours]
            self._remote.fetch(wanted)
            # The remote may have moved on meanwhile: what counts is what came.
            cache = ObjectStore(self._remote.place.cache)
            found = {name: cache.ref(CACHED + name.removeprefix("refs/heads/")) for name in wanted}
            base_commit = found[f"refs/heads/{base_branch}"]
            if base_commit is None:
                raise Transient(f"{base_branch} went away while it was fetched", stop_reason="git_failed")
            refuse_filters(cache, cache.tree_of(base_commit))
        self._base_branch = base_branch
        return RemoteRefs(base_branch=base_branch, base_commit=base_commit, branch_commit=found.get(ours))

    def remote_branch(self, branch: str) -> str | None:
        """The commit that the remote's ``branch`` has now; ``None`` if there is none. Errors as :meth:`fetch`."""
        with self._explained():
            self._remote.prepare()
            return self._remote.branch(branch)

    def has_landed(self, commit: str, branch: str) -> bool:
        """See :class:`necrocode.states.ports.Workspace`."""
        tip = self.remote_branch(branch)
        if tip is None or tip == commit:
            return tip is not None
        with self._explained():
            self._remote.fetch({f"refs/heads/{branch}": tip})
            return ObjectStore(self._remote.place.store).descends(tip, commit)

    def push(self, request: PushRequest) -> None:
        """See :class:`necrocode.states.ports.Workspace`."""
        with self._explained():
            self._store.commit_of(request.commit)
            self._remote.push(request.commit, request.branch, request.expected)

    # --- trees and commits -----------------------------------------------------------------------------------------

    def tree_of(self, commit: str) -> str:
        """See :class:`necrocode.states.ports.Workspace`."""
        return self._store.tree_of(commit).hex()

    def message_of(self, commit: str) -> str:
        """See :class:`necrocode.states.ports.Workspace`."""
        return self._store.commit_of(commit).raw_message.decode("utf-8", "replace")

    def paths(self, tree: str) -> list[str]:
        """See :class:`necrocode.states.ports.Workspace`."""
        return comparing.paths(self._store, bytes.fromhex(tree))

    def content(self, tree: str, path: str, *, max_bytes: int) -> bytes | None:
        """See :class:`necrocode.states.ports.Workspace`."""
        return comparing.content(self._store, bytes.fromhex(tree), path, max_bytes)

    def carry(self, *, before: str, after: str, onto: str) -> str:
        """See :class:`necrocode.states.ports.Workspace`."""
        with self._explained():
            made = comparing.carry(
                self._store, before=bytes.fromhex(before), after=bytes.fromhex(after), onto=bytes.fromhex(onto)
            )
            self._snapshots.keep(made)
            return made.hex()

    def rebase(self, *, branch_commit: str, base_commit: str) -> Rebased:
        """See :class:`necrocode.states.ports.Workspace`."""
        with self._explained():
            moved = move(self._store, branch_commit=branch_commit, base_commit=base_commit)
            self._snapshots.keep(bytes.fromhex(moved.tree))
            return moved

    def diff(self, base_tree: str, tree: str) -> bytes:
        """See :class:`necrocode.states.ports.Workspace`."""
        return comparing.patch(self._store, bytes.fromhex(base_tree), bytes.fromhex(tree))

    def changes(self, base_tree: str, tree: str) -> list[ChangedFile]:
        """See :class:`necrocode.states.ports.Workspace`."""
        return comparing.changes(self._store, bytes.fromhex(base_tree), bytes.fromhex(tree))

    def commit(self, request: CommitRequest) -> str:
        """See :class:`necrocode.states.ports.Workspace`."""
        with self._explained():
            made = self._store.commit(
                bytes.fromhex(request.tree),
                [request.parent],
                request.message,
                name=request.author_name,
                email=request.author_email,
                at=request.at,
            )
            self._store.set_ref(f"{run_ref(self._run_id, 'commits')}/{made}", made)
            return made

    def bundle(self, commit: str, base_commit: str) -> bytes:
        """See :class:`necrocode.states.ports.Workspace`."""
        return comparing.bundle(self._store, commit, base_commit)

    # --- the slot's files ------------------------------------------------------------------------------------------

    def lay(self, *, commit: str, tree: str) -> None:
        """See :class:`necrocode.states.ports.Workspace`."""
        with self._explained():
            commit_tree = self._store.tree_of(commit)
            if self._loan.kind == "folder":
                self._lay_folder(commit_tree, bytes.fromhex(tree))
                return
            files = self._slot_files()
            files.lay(bytes.fromhex(tree), tracked=[commit_tree])
            self._write_dotgit(files, commit)

    def snapshot(self, *, paths: Sequence[str] | None = None) -> str:
        """See :class:`necrocode.states.ports.Workspace`. What was left out is told by :meth:`take_warnings`."""
        with self._explained():
            tree = self._slot_files().snapshot(paths)
            self._snapshots.keep(tree)
            return tree.hex()

    def restore(self, tree: str) -> None:
        """See :class:`necrocode.states.ports.Workspace`."""
        with self._explained():
            self._slot_files().restore(bytes.fromhex(tree))

    def give_back(self) -> None:
        """See :class:`necrocode.states.ports.Workspace`.

        A user's own folder: as the run left it, it is kept under ``refs/necrocode/left/<run_id>`` in the store.
        """
        if self._loan.kind != "folder":
            return
        with self._explained():
            saved = self._saved()
            if saved is None:
                return
            files = self._slot_files()
            # A credential in a file is no reason not to give the folder back.
            with contextlib.suppress(TaskError):
                keep_tree(self._store, run_ref(self._run_id, "left"), files.snapshot(), parents=[])
            whole = SlotFiles(
                self._loan.slot_path, self._state, self._store, patterns=[bytes.fromhex(p) for p in saved.patterns]
            )
            whole.restore(bytes.fromhex(saved.tree))
            folder.forget(self._state)
            self._files = None

    # --- helpers ---------------------------------------------------------------------------------------------------

    @cached_property
    def _store(self) -> ObjectStore:
        self._remote.prepare()
        return ObjectStore(self._remote.place.store, found_secret=self._found_secret)

    @cached_property
    def _snapshots(self) -> RunSnapshots:
        return RunSnapshots(self._store, self._run_id)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with file_errors(self._remote.place.path, reason="store_damaged"):
            yield

    def _slot_files(self) -> SlotFiles:
        self._fence()
        if self._files is None:
            saved = self._saved() if self._loan.kind == "folder" else None
            theirs: dict[str, Entry] = {}
            patterns: list[bytes] = []
            if saved is not None:
                theirs = dict(self._store.flatten(bytes.fromhex(saved.theirs)))
                patterns = [bytes.fromhex(pattern) for pattern in saved.patterns]
            self._files = SlotFiles(self._loan.slot_path, self._state, self._store, theirs=theirs, patterns=patterns)
        return self._files

    def _write_dotgit(self, files: SlotFiles, commit: str) -> None:
        place = self._remote.place
        cache = ObjectStore(place.cache)
        found = {name.removeprefix(CACHED): target for name, target in cache.refs(CACHED).items() if target == commit}
        if self._base_branch in found:
            found = {self._base_branch: commit}
        alternates = [place.cache] if cache.has(bytes.fromhex(commit)) else [place.cache, place.store]
        with (
            file_errors(self._loan.slot_path, reason="slot_damaged"),
            descriptors.directory(self._loan.slot_path) as fd,
        ):
            dotgit.write(
                fd, files.known, self._store, commit=commit, alternates=alternates, branches=found,
                url=self._remote.url.url,
            )  # fmt: skip

    def _saved(self) -> folder.Saved | None:
        saved = folder.load_saved(self._state)
        if saved is not None and saved.run_id != self._run_id:
            raise EnvironmentFault(
                f"{self._loan.slot_path} still holds the work of run {saved.run_id}: resume that one first",
                stop_reason="slot_dirty",
            )
        return saved

    def _lay_folder(self, commit_tree: bytes, tree: bytes) -> None:
        if self._saved() is None:
            self._save_folder(tree)
        files = self._slot_files()
        saved = self._saved()
        assert saved is not None
        files.track([bytes.fromhex(saved.tracked), commit_tree, tree])
        files.restore(tree)

    def _save_folder(self, tree: bytes) -> None:
        """Keep all that is in the user's folder (ignored files aside) before the first file of it is changed."""
        checkout = folder.look_at(self._loan.slot_path)
        folder.write_empty_blob(self._store)
        tracked = folder.names_tree(self._store, checkout)
        files = SlotFiles(self._loan.slot_path, self._state, self._store, patterns=checkout.patterns)
        files.track([tracked])
        whole = files.snapshot()
        target = dict(self._store.flatten(tree))
        folder.refuse_collisions(checkout, files.known, target)
        theirs = {
            path: entry
            for path, entry in self._store.flatten(whole)
            if path not in checkout.files and path not in target
        }
        keep_tree(self._store, run_ref(self._run_id, "saved"), whole, parents=[])
        folder.save(
            self._state,
            folder.Saved(
                run_id=self._run_id,
                tree=whole.hex(),
                theirs=self._store.build(theirs).hex(),
                tracked=tracked.hex(),
                patterns=tuple(pattern.hex() for pattern in checkout.patterns),
            ),
        )
        self._files = None

    def _default_branch(self, default: str | None, head: str | None) -> str:
        if head is not None and default is not None and default.startswith("refs/heads/"):
            return default.removeprefix("refs/heads/")
        self._refuse_empty()
        url = self._remote.url.url
        if head is not None:
            raise TaskError(f"the HEAD of {url} is detached: name a base_branch", stop_reason="no_base_branch")
        named = f" ({default.removeprefix('refs/heads/')} does not exist)" if default else ""
        raise TaskError(f"{url} has no default branch{named}: name a base_branch", stop_reason="no_base_branch")

    def _refuse_empty(self) -> None:
        if self._remote.is_empty():
            raise TaskError(f"{self._remote.url.url} is empty: it has no branch to stand on", stop_reason="repo_empty")


def state_folder(home: Path, slot_path: Path) -> Path:
    """Where we keep what we know of a slot: beside a slot of our own, else under the home."""
    repos = home.resolve() / "repos"
    if slot_path.name == "work" and repos in slot_path.parents:
        return slot_path.parent / "state"
    return folder_state(home.resolve(), slot_path)
