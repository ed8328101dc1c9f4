"""The run's slot: how it is borrowed, found again in the run's data, and given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EffectFailed, EnvironmentFault, TaskError, Transient
from necrocode.engine.ids import idempotency_key
from necrocode.engine.stop import StopToken
from necrocode.states.ports import Ports, RepoPool, SlotAllocation, Workspace
from necrocode.states.retries import network_retries
from necrocode.states.task import TaskContext


def task_of(ctx: Context) -> TaskContext:
    """The task that the run works on."""
    return TaskContext.model_validate(ctx.data["task"])


def loan_of(data: Mapping[str, Any]) -> SlotAllocation | None:
    """The slot that the run holds, as recorded; ``None`` if it holds none."""
    slot = data.get("slot")
    if slot is None:
        return None
    return SlotAllocation(
        slot_id=slot["slot_id"], slot_path=Path(slot["path"]), generation=slot["generation"], kind=slot["kind"]
    )


def workspace_of(ctx: Context, ports: Ports) -> Workspace:
    """The workspace of the run's slot; of its last slot, if that was given back (then only the store is of use)."""
    loan = loan_of(ctx.data) or loan_of({"slot": ctx.data["last_slot"]})
    assert loan is not None
    return ports.workspaces.open(loan, repo_url=_repository(ctx), run_id=ctx.run_id)


@dataclass(frozen=True, slots=True)
class _Lender:
    """Somebody who can be asked for the run's slot."""

    kind: Literal["pool", "folder"]
    pool: RepoPool
    #: The repository, or the task's own folder.
    source: str
    #: What the keys of effects that ask him end with.
    suffix: str = ""


def _lenders(ctx: Context, ports: Ports) -> list[_Lender]:
    """Who can lend the slot, in the order in which they are asked: the pool, if a service is configured or the task
    names no folder, and that folder.
    """
    task = task_of(ctx)
    pool, folder = _Lender("pool", ports.pool, str(task.repository)), str(task.slot_path)
    if not task.slot_path:
        return [pool]
    if not ctx.settings.get("repo_pool_url"):
        return [_Lender("folder", ports.folders, folder)]
    return [pool, _Lender("folder", ports.folders, folder, "-folder")]


def _lender_of(ports: Ports, loan: SlotAllocation) -> RepoPool:
    return ports.folders if loan.kind == "folder" else ports.pool


def borrow(ctx: Context, ports: Ports) -> dict[str, Json]:
    """Borrow the run's next slot; returns what to record. A tenure's loan is the same however often it is asked for."""
    tenure = int(ctx.data.get("tenure", 0)) + 1
    first, *others = _lenders(ctx, ports)
    # Committed with the intent: whatever stops the run before the loan is in its data, the loan can be called back.
    ctx.observe("slot.wanted", lambda: {"wanted_tenure": tenure})
    try:
        slot = _ask(ctx, first, tenure, tolerate=bool(others))
    except EffectFailed as error:
        ctx.warn("pool_fallback", {"source": others[0].source, "error": str(error)})
        # It may have lent one all the same.
        _leave_call_back(ctx, first, tenure)
        slot = _ask(ctx, others[0], tenure, tolerate=False)
    return {"slot": slot, "last_slot": slot, "tenure": tenure}


def _ask(ctx: Context, lender: _Lender, tenure: int, *, tolerate: bool) -> Json:
    key, timeout = _tenure_key(ctx, tenure), timedelta(seconds=ctx.settings["slot_timeout_seconds"])

    def allocate(attempt: Attempt) -> Json:
        try:
            loan = lender.pool.allocate(lender.source, run_id=ctx.run_id, key=key, timeout=timeout, stop=attempt.stop)
        except Transient as error:
            if error.stop_reason != "no_slot":
                raise
            # It was waited for long enough.
            raise EnvironmentFault(str(error), stop_reason=error.stop_reason) from error
        return {
            "slot_id": loan.slot_id,
            "path": str(loan.slot_path),
            "generation": loan.generation,
            "kind": loan.kind,
        }

    effect_key, retry = f"tenure-{tenure}{lender.suffix}", network_retries(ctx.settings)
    return ctx.effect("slot.allocate", allocate, key=effect_key, retry=retry, tolerate=tolerate)


def holds(ctx: Context, ports: Ports, data: Mapping[str, Any]) -> bool:
    """Whether the slot that ``data`` names is still the run's; looked at anew whenever the run is taken up."""
    loan = loan_of(data)
    return loan is not None and bool(
        ctx.observe("slot.holds", lambda: _lender_of(ports, loan).holds(loan, run_id=ctx.run_id))
    )


def give_back(ctx: Context, ports: Ports) -> dict[str, Json]:
    """End what runs in the slot and return it; returns what to record. What cannot be returned now goes to the
    outbox.
    """
    loan = loan_of(ctx.data)
    if ctx.data.get("result") != "completed":
        _call_back(ctx, ports)
    if loan is None:
        return {}
    key = _tenure_key(ctx, int(ctx.data["tenure"]))

    def release(_: Attempt) -> Json:
        _release(ctx, ports, loan, key)
        return {"slot_id": loan.slot_id}

    try:
        ctx.effect("slot.release", release, key=loan.slot_id, retry=network_retries(ctx.settings), tolerate=True)
    except EffectFailed as error:
        ctx.warn("slot_not_released", {"slot_id": loan.slot_id, "error": str(error)})
        slot = ctx.data["slot"]
        ctx.post("pool", "release", {"slot": slot, "run_id": ctx.run_id, "key": key}, item_id=f"{key}:release")
    return {"slot": None}


def recall(pool: RepoPool, source: str, *, run_id: str, key: str) -> SlotAllocation | None:
    """The loan that was made under ``key``, else one that is to be given back at once; ``None`` if no slot is free, so
    that there is none.
    """
    try:
        # Not the run's own token: a run that is being stopped must be able to clean up.
        return pool.allocate(source, run_id=run_id, key=key, timeout=timedelta(0), stop=StopToken())
    except Transient as error:
        if error.stop_reason != "no_slot":
            raise
        return None


def put_back(ctx: Context, ports: Ports, tree: str) -> None:
    """Make the slot's files those of ``tree`` again, as an effect."""
    workspace = workspace_of(ctx, ports)

    def restore(_: Attempt) -> Json:
        workspace.restore(tree)
        return {"snapshot": tree}

    ctx.effect("workspace.restore", restore, key=tree)


def _call_back(ctx: Context, ports: Ports) -> None:
    """Return the slot of a tenure that never came into the run's data, if one was lent.

    The pool is asked under the tenure's key once more: that gives the loan that was made, or one that ends at once.
    """
    tenure = int(ctx.last_recorded("wanted_tenure") or 0)
    if tenure <= int(ctx.data.get("tenure", 0)):
        return
    for lender in _lenders(ctx, ports):
        _call_back_from(ctx, ports, lender, tenure)


def _call_back_from(ctx: Context, ports: Ports, lender: _Lender, tenure: int) -> None:
    key = _tenure_key(ctx, tenure)
    done = f"called_back{lender.suffix}"
    if ctx.state == "releasing" and ctx.last_recorded(done, effect="slot.call_back") == [ctx.visit, tenure]:
        # Nobody borrows from here on: to ask again, while parking, would only lend a slot that nobody calls back.
        return

    def call_back(_: Attempt) -> Json:
        loan = recall(lender.pool, lender.source, run_id=ctx.run_id, key=key)
        if loan is not None:
            _release(ctx, ports, loan, key)
        return {"slot_id": loan.slot_id if loan is not None else None, done: [ctx.visit, tenure]}

    effect_key = f"tenure-{tenure}{lender.suffix}"
    try:
        ctx.effect("slot.call_back", call_back, key=effect_key, retry=network_retries(ctx.settings), tolerate=True)
    except (EffectFailed, TaskError) as error:
        ctx.warn("slot_not_called_back", {"tenure": tenure, "error": str(error)})
        # One that parks asks for the same tenure again; from here on nobody does.
        if isinstance(error, EffectFailed) and ctx.state == "releasing":
            _leave_call_back(ctx, lender, tenure)


def _leave_call_back(ctx: Context, lender: _Lender, tenure: int) -> None:
    """Have the slot of a tenure called back once its lender can be reached."""
    key = _tenure_key(ctx, tenure)
    payload = {"source": lender.source, "kind": lender.kind, "run_id": ctx.run_id, "key": key}
    ctx.post("pool", "call_back", payload, item_id=f"{key}:call_back{lender.suffix}")


def _release(ctx: Context, ports: Ports, loan: SlotAllocation, key: str) -> None:
    pool = _lender_of(ports, loan)
    # Asked first: a pool that has seen a later epoch refuses, and then nothing here is ours to end.
    held = pool.holds(loan, run_id=ctx.run_id)
    ports.commands.reap(ctx.run_id)
    if held:
        ports.workspaces.open(loan, repo_url=_repository(ctx), run_id=ctx.run_id).give_back()
    pool.release(loan, run_id=ctx.run_id, key=key)


def _tenure_key(ctx: Context, tenure: int) -> str:
    return idempotency_key(ctx.run_id, "tenure", tenure, "slot", "")


def _repository(ctx: Context) -> str:
    task = task_of(ctx)
    # empty: the origin of the task's own folder
    return task.repository or ""
