"""What the handlers need from the world: Protocols whose docstrings state each contract as conditions.

Errors cross a port in the engine's terms only: :class:`TaskError` (the task's own fault), :class:`Transient` (worth
another attempt), :class:`EnvironmentFault` (park; :data:`DISK_TROUBLE`: this machine's own disk). Any other exception
is a bug of the adapter. Adapters never retry by themselves: retry policies stand beside the effects that call them, and
every attempt is journaled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from necrocode.engine.stop import StopToken

if TYPE_CHECKING:
    from necrocode.engine.context import Context
    from necrocode.states.junit import Report
    from necrocode.states.playbook import Playbook
    from necrocode.states.task import TaskContext

DISK_TROUBLE = ("disk_full", "disk_read_only", "disk_error")
"""The ``stop_reason`` of a disk of this machine that has no room, takes no writes, or fails: a person's to mend."""


# --- the repo pool ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotAllocation:
    """A slot on loan: a folder that holds a working copy and belongs to one run."""

    slot_id: str
    slot_path: Path
    #: Grows with every loan of the slot; ``None`` if the pool knows no generations.
    generation: int | None = None
    #: ``pool`` (a pool of slots) or ``folder`` (the task's own ``slot_path``).
    kind: Literal["pool", "folder"] = "pool"


class RepoPool(Protocol):
    """Lends slots, each to one run at a time."""

    def allocate(self, repo_url: str, *, run_id: str, key: str, timeout: timedelta, stop: StopToken) -> SlotAllocation:
        """Lend a slot of ``repo_url``.

        Nothing of a former run may be in it but files of the repository's own history: :meth:`Workspace.lay` makes the
        files right before anything else looks at them, and is fast where most of them already are.
        If ``key`` was answered before and that loan has not ended, it must return the same loan.
        If every slot is lent and no more may be made, it must wait up to ``timeout``, looking at ``stop``, and then
        raise :class:`Transient` (``stop_reason`` ``no_slot``).
        If a slot's holder is dead and its run has ended or parked, it must take the slot back by itself.
        """

    def release(self, loan: SlotAllocation, *, run_id: str, key: str) -> None:
        """Take the slot back and clean it.

        If the loan has already ended (any generation but the current one, or no loan), it must do nothing and return.
        """

    def holds(self, loan: SlotAllocation, *, run_id: str) -> bool:
        """Whether ``loan`` is still this run's: same generation, not ended. Must not touch a file in the slot.

        A pool that is told epochs refuses here, and in ``allocate`` and ``release``, one older than it has seen
        (:class:`EnvironmentFault` ``superseded``).
        """

    def renew(self, loan: SlotAllocation, *, run_id: str) -> None:
        """Say that the run is alive. A pool without renewal does nothing."""


# --- the workspace: a slot's files and the store that remembers them ----------------------------------------------


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


# --- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One shell command to be run in a slot."""

    #: Unique for ever (the effect's idempotency key): a command is started at most once.
    command_id: str
    run_id: str
    #: Passed to ``bash -c`` (``sh -c`` where there is no bash).
    command: str
    #: The slot. Also the working directory, unless ``cwd`` (relative to it) says otherwise.
    slot_path: Path
    timeout: timedelta
    cwd: str = "."
    #: Added to the clean environment.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Names taken over from the runner's own environment (never a loaded credential).
    pass_env: Sequence[str] = ()
    #: All of it, none, or these hosts only: ``host``, ``*.domain`` or an address, each perhaps ``:port``.
    network: bool | tuple[str, ...] = False
    #: Bytes of output kept: the first half and the last half of it.
    max_output_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended."""

    #: ``exited`` (see ``exit_code``), ``timeout``, ``stopped`` (by us, on request), ``interrupted`` (lost: it never
    #: started, or whoever watched it died and its result is unknown), ``not_started`` (could not be executed at all).
    status: Literal["exited", "timeout", "stopped", "interrupted", "not_started"]
    #: 0–255 when it exited by itself; 128 + signal number when a signal ended it; ``None`` otherwise.
    exit_code: int | None
    #: stdout and stderr as they came, UTF-8 with undecodable bytes replaced, masked: head, a line saying how much was
    #: left out, tail.
    output: str
    #: Bytes of output that were left out.
    omitted_bytes: int
    duration: timedelta
    #: How it was confined: ``bubblewrap``, ``landlock`` or ``none``.
    sandbox: str
    #: What :meth:`CommandRunner.whole_output` calls the whole output, if something was left out and it was kept.
    whole: str = ""


class CommandRunner(Protocol):
    """Runs commands under a detached supervisor that outlives this process."""

    def run(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        """Start the command and wait for its end.

        When it returns, every process that the command left behind is gone, daemons included. stdin is closed. If
        ``stop`` asks for the end by anything but :class:`Superseded`, the command is killed and the result says
        ``stopped``; at :class:`Superseded` it raises that and leaves the command alone.
        :class:`EnvironmentFault` ``sandbox_missing``: a sandbox is required and there is none.
        """

    def attach(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        """Settle a command that an earlier process meant to start; never starts it.

        If it runs, wait for it; if it has ended, return what it left. If it never started, it must be made sure that it
        never will (the claim), and if it was lost, what is left of it is killed: ``interrupted``.
        """

    def reap(self, run_id: str, *, keep: Sequence[str] = ()) -> int:
        """Kill whatever still runs for ``run_id`` and forget its files, except the commands in ``keep``.

        Returns how many commands were killed.
        """

    def forget(self, command_id: str) -> None:
        """Remove what an ended command left on disk; its outcome is in the journal."""

    def whole_output(self, run_id: str, name: str) -> bytes | None:
        """The output that a result of the run calls ``whole``, masked, from its beginning up to a limit; ``None`` if it
        is not there any more.
        """


# --- tests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TakenReport:
    """What a command left of JUnit files."""

    #: ``None`` if it left none that can be read.
    report: Report | None
    #: What is wrong with others, each in a sentence.
    problems: tuple[str, ...] = ()


class JUnitFiles(Protocol):
    """Has test runners say what became of each test, in files in the slot that nobody vouches for."""

    def variables(self, spec: CommandSpec) -> Mapping[str, str]:
        """What the command's environment must hold over ``spec.env``, so that a runner that is known writes a file."""

    def stamps(self, slot_path: Path, patterns: Sequence[str]) -> Mapping[str, Any]:
        """What is there already of files that match, as JSON, so that they are not taken for a later command's."""

    def take(self, spec: CommandSpec, patterns: Sequence[str], stamps: Mapping[str, Any]) -> TakenReport:
        """Read what the command wrote, and remove what only :meth:`variables` had it write.

        Whatever lies there (a link, a FIFO, gigabytes, anything but JUnit XML) is at most a problem.
        """


class Playbooks(Protocol):
    """Reads playbooks, and has some of its own."""

    def read(self, content: bytes, what: str) -> Playbook:
        """The playbook in a file. :class:`TaskError` ``invalid_playbook``, with every problem and its place."""

    def detected(self, holds: Callable[[str], bool]) -> Playbook | None:
        """The one for a repository of which the first of the known conditions ``holds``."""


# --- the model ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request to a chat-completions endpoint. Messages and tools are in OpenAI's JSON form."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    max_tokens: int = 4000
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model asked for; ``arguments`` as it wrote them (perhaps broken JSON)."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """One answer of the model."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    tokens_in: int
    tokens_out: int
    model: str
    #: True where the endpoint reported no usage and the figures are estimates (4 bytes a token).
    estimated: bool = False
    #: The model's reasoning under the name that the endpoint gave it, to be sent back with the answer's tool calls.
    reasoning: Mapping[str, str] = field(default_factory=dict)
    #: Whether the endpoint says that the model refused.
    refusal: bool = False


class LLM(Protocol):
    """Asks a model."""

    def complete(self, request: ChatRequest, *, key: str, timeout: timedelta, stop: StopToken) -> ChatAnswer:
        """One answer, complete.

        :class:`EnvironmentFault`: ``llm_auth`` (401, 403, no key), ``llm_request`` (another 4xx: the message names it).
        :class:`Transient`: ``llm_unavailable`` (network, cut answer, 408, 409, 429, 5xx; Retry-After in
        ``retry_after``), ``llm_bad_answer`` (no JSON, no choices: bounded, masked excerpt in the message).
        :class:`TaskError` ``context_overflow``. Raises the stop signal soon after ``stop`` asks.
        """


# --- the coder ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one test command ended."""

    __test__ = False

    command: str
    passed: bool
    status: str
    exit_code: int | None
    output: str
    duration_seconds: float
    #: What it said of each test, as :meth:`necrocode.states.junit.Report.as_json` gives it, if it did.
    report: Mapping[str, Any] | None = None
    #: Names of failing tests that failed before the change, too; ``None`` if nobody knows.
    failed_before: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class CoderWork:
    """What a coder is asked to do in one visit of ``implementing``."""

    task: TaskContext
    slot_path: Path
    workspace: Workspace
    #: Tree of the recorded base.
    base_tree: str
    #: 1 for the first attempt.
    attempt: int
    #: Failed tests of the attempt before this one.
    feedback: tuple[TestResult, ...] = ()
    #: Files with conflict markers from moving an earlier branch onto the base.
    conflicts: tuple[str, ...] = ()
    #: What the work will be tested by; ``None``: the task's own commands.
    test_commands: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class CoderReport:
    """What the coder left behind."""

    summary: str
    #: The snapshot that the coder calls finished.
    tree: str


class Coder(Protocol):
    """Implements a task in a slot."""

    def implement(self, ctx: Context, work: CoderWork) -> CoderReport:
        """Work until the coder calls it finished.

        Everything it does outside goes through ``ctx.effect`` / ``ctx.observe``, so that a replay repeats nothing.
        :class:`TaskError`: ``stuck`` (trigger ``error``), ``budget`` (trigger ``budget``).
        """


# --- registry and artifacts ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file kept after the run."""

    type: str
    uri: str
    size_bytes: int
    sha256: str
    created_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)


class TaskRegistry(Protocol):
    """Is told what becomes of a task. Every write carries an idempotency key: the same key twice counts once.

    If a write certainly did not arrive, it should raise :class:`~necrocode.engine.errors.Unreached`: only then may
    another registry be told instead.
    """

    def set_status(
        self,
        task_id: str,
        spec_name: str,
        status: str,
        *,
        metadata: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        """Status ``running``, ``done`` or ``failed``. An older ``epoch`` than one seen is refused
        (:class:`EnvironmentFault`). ``running`` that comes after the end of the same run (from the outbox) is kept and
        changes nothing.
        """

    def add_event(
        self,
        task_id: str,
        spec_name: str,
        event_type: str,
        *,
        data: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        """``RunnerStarted``, ``TaskCompleted`` or ``TaskFailed``."""

    def add_artifact(self, task_id: str, spec_name: str, artifact: Artifact, *, key: str, epoch: int) -> None:
        """One artifact of the task."""


class ArtifactStore(Protocol):
    """Keeps artifacts."""

    def upload(
        self, content: bytes, *, type: str, name: str, metadata: Mapping[str, Any], at: datetime, key: str
    ) -> Artifact:
        """Keep ``content`` (already masked). The same ``key`` twice gives the same artifact."""

    def download(self, uri: str) -> bytes:
        """The bytes. ``LookupError`` if there is no such artifact."""


# --- credentials and the log -----------------------------------------------------------------------------------------


class Credentials(Protocol):
    """Holds loaded secrets and masks them everywhere else."""

    def mask(self, text: str) -> str:
        """``text`` with every loaded secret of 8 bytes or more, also base64-, URL- or JSON-escaped, as ``***``."""

    def found_in(self, content: bytes) -> str | None:
        """The *name* of a loaded secret that ``content`` holds verbatim or escaped, if any."""

    def wipe(self) -> None:
        """Drop every reference to the secrets of this run; masking of what was loaded must go on working for the
        log.
        """


class RunLog(Protocol):
    """The log of a run, as it stands."""

    def read(self, run_id: str) -> bytes:
        """JSON lines, masked; empty if nothing was logged."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the handlers reach the world through."""

    registry: TaskRegistry
    pool: RepoPool
    #: Lends the task's own ``slot_path``.
    folders: RepoPool
    workspaces: Workspaces
    commands: CommandRunner
    coder: Coder
    artifacts: ArtifactStore
    credentials: Credentials
    log: RunLog
    #: Registries that a run may report to instead, if the registry certainly cannot be reached as the run begins: by
    #: the name of their sink in the outbox, the one to be taken first.
    fallbacks: Mapping[str, TaskRegistry] = field(default_factory=dict)
    #: Keeps what the artifact store, a service elsewhere, does not take now; ``None`` if the store is on this machine.
    artifacts_here: ArtifactStore | None = None
    #: ``None``: nobody asks after single tests.
    reports: JUnitFiles | None = None
    #: ``None``: no playbook is read from a repository, and none detected.
    playbooks: Playbooks | None = None
