"""How the product is broken on purpose: each of these replaces one of its parts by a worse one."""

from __future__ import annotations

import sqlite3
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from necrocode.engine import claim as claims
from necrocode.engine import outbox
from necrocode.engine.claim import Addition, Claim
from necrocode.engine.context import Context
from necrocode.engine.effects import Adopt, Attempt, Repeat
from necrocode.engine.errors import StopSignal
from necrocode.engine.examination import Examination
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, Transition
from necrocode.engine.outbox import Parcel
from necrocode.engine.stop import StopToken
from necrocode.engine.writer import Writer
from necrocode.git.slot import SlotFiles
from necrocode.states import loan, program, pushing, recovery, releasing, reports
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.ports import PushRequest, SlotAllocation
from tests.crash.simulation.ports import SimCommands, SimPool, SimRegistry, SimWorkspace
from tests.crash.simulation.world import Command

# --- effects ---


@contextmanager
def no_intent() -> Iterator[None]:
    """Effects are done without a word before."""
    real: Any = Context._commit

    def commit(self: Context, addition: Addition, **rest: Any) -> Any:
        return {} if addition.kind == "intent" else real(self, addition, **rest)

    with swapped(Context, "_commit", commit):
        yield


@contextmanager
def outcome_first() -> Iterator[None]:
    """The push is recorded as done, and then done."""
    real: Any = Context.effect

    def effect(self: Context, name: str, do: Callable[[Attempt], Any], **rest: Any) -> Any:
        if name != "git.push":
            return real(self, name, do, **rest)
        step = self._steps.get(self._ordinal)
        result = real(self, name, lambda _: {"commit": rest["key"]}, **{**rest, "policy": Repeat()})
        if step is None or step.settled is None:
            do(Attempt("", 1, self.epoch, self.stop))
        return result

    with swapped(Context, "effect", effect):
        yield


@contextmanager
def answers_unrecorded() -> Iterator[None]:
    """The model's answers are not kept."""
    real: Any = Context.effect

    def effect(self: Context, name: str, do: Callable[[Attempt], Any], **rest: Any) -> Any:
        return do(Attempt("", 1, self.epoch, self.stop)) if name == "llm.chat" else real(self, name, do, **rest)

    with swapped(Context, "effect", effect):
        yield


def reports_under_new_ids() -> Any:
    """Each attempt to report has an id of its own."""
    return swapped(reports, "idempotency_key", lambda *_: str(uuid.uuid4()))


@contextmanager
def parcels_of_their_time() -> Iterator[None]:
    """What waits in the outbox is delivered under the epoch that it was left in."""
    real: Any = outbox.waiting

    def waiting(journal: Journal, *args: Any) -> list[Parcel]:
        with journal.database.read() as connection:
            rows = connection.exec_driver_sql("SELECT item_id, epoch FROM outbox").fetchall()
        left_in: dict[str, int] = {row[0]: row[1] for row in rows}
        return [replace(parcel, epoch=left_in[parcel.item_id]) for parcel in real(journal, *args)]

    with swapped(outbox, "waiting", waiting):
        yield


def no_reconcile() -> Any:
    """A push in doubt is done again without asking."""
    return swapped(pushing, "Reconcile", lambda _: Repeat())


# --- the journal ---


@contextmanager
def appends_unchecked() -> Iterator[None]:
    """Whoever appends takes the head as it finds it, whatever epoch it is."""
    with heads_uncompared(), epochs_unchecked():
        yield


@contextmanager
def heads_uncompared() -> Iterator[None]:
    """Whoever appends in his own epoch takes the head as he finds it."""
    real: Any = Claim.append

    def append(self: Claim, additions: Sequence[Any], **rest: Any) -> Any:
        self.run = self.journal.run(self.run.run_id)._replace(epoch=self.epoch)
        return real(self, additions, **rest)

    with swapped(Claim, "append", append):
        yield


@contextmanager
def epochs_unchecked() -> Iterator[None]:
    """Whoever knows the head may append to it, whatever epoch he is of."""
    with ExitStack() as broken:
        for name in ("_MOVE_HEAD", "_MOVE_STATE"):
            checked = getattr(claims, name)
            unchecked = checked.replace("leases.epoch = ? AND leases.held = 1", "? > 0")
            assert unchecked != checked
            broken.enter_context(swapped(claims, name, unchecked))
        yield


@contextmanager
def no_transaction() -> Iterator[None]:
    """Each statement is committed by itself."""

    def commit(self: Writer, steps: Sequence[Any]) -> None:
        for step in steps:
            _try(step, self._connection)

    with swapped(Writer, "_commit", commit):
        yield


@contextmanager
def no_savepoints() -> Iterator[None]:
    """What a refused step of a batch wrote is committed with the others."""
    real: Any = Writer._run
    with swapped(Writer, "_run", lambda self, step, **_: real(self, step, alone=True)):
        yield


def tail_unchecked() -> Any:
    """Nobody asks whether the last entries are there."""
    return swapped(Examination, "_links", lambda *_: None)


def _try(step: Any, connection: sqlite3.Connection) -> None:
    try:
        step.value = step.operation(connection)
        step.done = True
    except (Exception, StopSignal) as error:  # noqa: BLE001 - as the writer does
        step.fail(error)


# --- the lifecycle ---


@contextmanager
def released_before_it_is() -> Iterator[None]:
    """The slot is recorded as given back, and then given back."""
    owed: list[Callable[[], None]] = []
    real: Any = Claim.append

    def give_back(ctx: Context, ports: Any) -> dict[str, Any]:
        held = loan.loan_of(ctx.data)
        assert held is not None
        owed.append(lambda: ports.pool.release(held, run_id=ctx.run_id, key=""))
        return {"slot": None}

    def append(self: Claim, additions: Sequence[Any], **rest: Any) -> Any:
        stored = real(self, additions, **rest)
        while self.run.status == "closed" and owed:
            owed.pop()()
        return stored

    with swapped(releasing, "give_back", give_back), swapped(Claim, "append", append):
        yield


@contextmanager
def borrowed_without_a_word() -> Iterator[None]:
    """Nothing is recorded before a slot is asked for, so that it cannot be called back."""
    real: Any = Context.observe

    def observe(self: Context, name: str, do: Callable[[], Any], **rest: Any) -> Any:
        return do() if name == "slot.wanted" else real(self, name, do, **rest)

    with swapped(Context, "observe", observe):
        yield


def not_restored() -> Any:
    """Recovery leaves the files as they are."""
    return swapped(recovery, "put_back", lambda *_: None)


def restored_under_a_command() -> Any:
    """Recovery puts the files back although a command in doubt will be adopted."""
    return swapped(recovery, "is_command", lambda _: False)


@contextmanager
def restored_after_adoption() -> Iterator[None]:
    """What a command left that outlived its runner is adopted, and then put back."""
    known: list[Any] = []
    holds: Any = loan.holds
    real: Any = Context.effect

    def holding(ctx: Context, ports: Any, data: Any) -> bool:
        known.append(ports)
        return bool(holds(ctx, ports, data))

    def effect(self: Context, name: str, do: Callable[[Attempt], Any], **rest: Any) -> Any:
        policy = rest.get("policy")
        if isinstance(policy, Adopt) and known:
            before = self.last_recorded("snapshot")

            def adopt(attempt: Attempt) -> Any:
                result = policy.attach(attempt)
                loan.workspace_of(self, known[-1]).restore(str(before))
                return result

            rest["policy"] = Adopt(adopt)
        return real(self, name, do, **rest)

    with swapped(recovery, "holds", holding), swapped(Context, "effect", effect):
        yield


def loan_unchecked() -> Any:
    """Recovery takes it for granted that the slot is still the run's."""
    return swapped(recovery, "holds", lambda *_: True)


def parked_with_its_slot() -> Any:
    """Who parks gives nothing back."""
    return swapped(recovery, "park", lambda *_: {})


def cancel_after_the_push() -> Any:
    """The push is not the point of no return."""
    table = Lifecycle(
        name=LIFECYCLE.name,
        version=LIFECYCLE.version,
        initial=LIFECYCLE.initial,
        states=LIFECYCLE.states.values(),
        transitions=(*LIFECYCLE.transitions, Transition("cancel", "uploading", "cancelling")),
        guards=LIFECYCLE.guards,
    )
    return swapped(program, "LIFECYCLE", table)


def own_git_trusted() -> Any:
    """Git is asked what has changed, in the repository that the slot says it is."""
    real: Any = SlotFiles.snapshot

    def snapshot(self: SlotFiles, *args: Any, **rest: Any) -> Any:
        subprocess.run(["git", "status", "--porcelain"], cwd=self.path, capture_output=True, check=False)
        return real(self, *args, **rest)

    return swapped(SlotFiles, "snapshot", snapshot)


# --- adapters that break their contract ---


class CarelessRegistry(SimRegistry):
    """Takes reports of any epoch."""

    def fence(self, epoch: int) -> None:
        del epoch


class ForgetfulPool(SimPool):
    """Lends a new slot each time, whatever the key."""

    def allocate(self, repo_url: str, *, run_id: str, key: str, timeout: timedelta, stop: StopToken) -> SlotAllocation:
        key = f"{key}#{len(self.world.loans)}"
        return super().allocate(repo_url, run_id=run_id, key=key, timeout=timeout, stop=stop)


class RacyPush(SimWorkspace):
    """Looks at the branch, and then writes it."""

    def push(self, request: PushRequest) -> None:
        with self.crossing("git.push"):
            as_expected = self.world.branches.get(request.branch) == request.expected
            self.mortal.midway()
            if as_expected:
                self.world.overwrite(request.branch, request.commit)


class BlindPush(SimWorkspace):
    """Writes the branch, whatever it is."""

    def push(self, request: PushRequest) -> None:
        with self.crossing("git.push"):
            self.world.overwrite(request.branch, request.commit)


class UnclaimedCommands(SimCommands):
    """Declares a command lost without making sure that it will not start after all."""

    def bar(self, command: Command) -> None:
        del command


@contextmanager
def swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """``owner`` with another ``name``."""
    real = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, real)
