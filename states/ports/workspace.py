"""The workspace: a slot's files, and the store that remembers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from necrocode.states.ports.pool import SlotAllocation


@dataclass(frozen=True, slots=True)
class RemoteRefs:
    """What the remote said, at one moment."""

    #: The branch that the work stands on: ``base_branch`` or the remote's default.
    base_branch: str
    #: Its commit, as 40 hex digits.
    base_commit: str
    #: Commit of the branch that will be pushed, if it exists there.
    branch_commit: str | None


@dataclass(frozen=True, slots=True)
class Rebased:
    """An earlier branch of ours, moved onto a new base."""

    #: Tree to start from: the rebased one; with conflicts, the one with conflict markers in these files.
    tree: str
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One line of a diff's summary."""

    path: str
    #: ``A`` added, ``M`` modified, ``D`` deleted, ``T`` type or mode changed.
    status: Literal["A", "M", "D", "T"]
    added_lines: int
    deleted_lines: int


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """Everything that goes into a commit: the same request always gives the same commit id."""

    tree: str
    parent: str
    message: str
    author_name: str
    author_email: str
    #: Written as UTC; the journal's time, not the clock's.
    at: datetime


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One ref to update on the remote."""

    commit: str
    branch: str
    #: The commit that the branch must have on the remote now; ``None`` if it must not exist.
    expected: str | None


class Workspace(Protocol):
    """One run's slot as a folder of files, with a snapshot store outside it.

    After a model has had the slot nothing in it is trusted: no method may open, run or follow anything in the slot's
    ``.git``, follow a symbolic link out of the slot, or write beside it. Trees and commits are 40 hex digits and live
    in the store, which is synced to disk before a method that names one returns.
    """

    def fetch(self, *, base_branch: str | None, branch: str) -> RemoteRefs:
        """Bring the remote's base (and ``branch``, if it exists there) into the object cache.

        :class:`TaskError`: ``repo_not_found``, ``repo_empty``, ``no_base_branch`` (``base_branch`` missing there, or no
        default), ``unsupported_repo`` (LFS, sparse, sha256, reftable…, named). :class:`EnvironmentFault`: ``git_auth``.
        :class:`Transient`: network.
        """

    def rebase(self, *, branch_commit: str, base_commit: str) -> Rebased:
        """The files of ``branch_commit``'s own work moved onto ``base_commit``; no commit is made."""

    def tree_of(self, commit: str) -> str:
        """The tree of ``commit``."""

    def message_of(self, commit: str) -> str:
        """The whole message of ``commit``."""

    def paths(self, tree: str) -> Sequence[str]:
        """Every path in ``tree`` that is no folder, links included, as POSIX text."""

    def content(self, tree: str, path: str, *, max_bytes: int) -> bytes | None:
        """The bytes of the regular file at ``path`` in ``tree``; ``None`` if there is none, or it is larger. No link is
        followed.
        """

    def carry(self, *, before: str, after: str, onto: str) -> str:
        """The tree ``onto`` with each file that differs between ``before`` and ``after`` as ``after`` has it (or has
        not).
        """

    def lay(self, *, commit: str, tree: str) -> None:
        """Make the slot a fresh, clean working copy: a new ``.git`` of our own making with HEAD detached at ``commit``,
        files exactly those of ``tree``, nothing else (ignored files of former runs included). A user's own folder
        (``kind`` ``folder``) keeps its ``.git`` and its untracked and ignored files; only tracked files change.
        """

    def snapshot(self, *, paths: Sequence[str] | None = None) -> str:
        """Record the slot's tracked and unignored files (bytes and executable bit); returns the tree.

        ``paths`` (relative, POSIX) says that nothing else can have changed since the last snapshot or restore.
        A nested repository counts as plain files, without its ``.git``.
        :class:`TaskError` ``secret_in_diff``: a new or changed file holds a loaded credential; nothing is stored.
        """

    def restore(self, tree: str) -> None:
        """Make the slot's tracked and unignored files equal ``tree`` again; ignored files stay."""

    def diff(self, base_tree: str, tree: str) -> bytes:
        """A unified git diff, binary patches included, that ``git apply`` takes."""

    def changes(self, base_tree: str, tree: str) -> list[ChangedFile]:
        """The files that differ, in path order."""

    def commit(self, request: CommitRequest) -> str:
        """Make the commit in the store and keep it referenced for this run."""

    def bundle(self, commit: str, base_commit: str) -> bytes:
        """A git bundle of ``base_commit..commit`` whose ref is ``HEAD``."""

    def push(self, request: PushRequest) -> None:
        """Update the remote's branch, only if it is what ``expected`` says, atomically.

        If the branch already is ``commit``, it must succeed without a write.
        :class:`TaskError`: ``branch_exists`` (it is something else), ``push_rejected`` (a hook or protection; the
        remote's words in the message). :class:`EnvironmentFault`: ``git_auth``. :class:`Transient`: network.
        """

    def has_landed(self, commit: str, branch: str) -> bool:
        """Whether the remote's ``branch`` has ``commit`` now: as its tip, or below what others put on it since. Errors
        as :meth:`fetch`.
        """

    def take_warnings(self) -> list[str]:
        """What snapshots left out since the last call, and why (FIFOs, huge files…); each is said once."""

    def give_back(self) -> None:
        """Leave the folder as the next user should find it: a pool's slot is cleaned by the pool; a user's own folder
        is put back to the files it had before :meth:`lay`.
        """


class Workspaces(Protocol):
    """Opens a run's workspace."""

    def open(self, loan: SlotAllocation, *, repo_url: str, run_id: str) -> Workspace:
        """The workspace of ``loan``. Touches no file in the slot."""
