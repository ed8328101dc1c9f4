"""The repo pool over HTTP: slots lent with a lease, waited for without holding anybody up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from necrocode.embedded.fences import check_epoch
from necrocode.engine.database import Database
from necrocode.engine.errors import EnvironmentFault, Transient
from necrocode.engine.stop import StopToken
from necrocode.errors import KeyReused, NotFound
from necrocode.pool.embedded import EmbeddedPool
from necrocode.pool.loans import HELD, Slot
from necrocode.serve.answers import Refused, refusals
from necrocode.serve.fields import Epoch, IdempotencyKey, NoBool, PathName, Text, key_or_new
from necrocode.states.ports import SlotAllocation

MAX_WAIT = timedelta(seconds=60)
"""Of one call, however long it asks for: who wants to wait longer asks again."""

_POLL = 0.25
"""Seconds between two looks at what nobody rings the bell for: leases that ran out, slots other processes gave back."""


class AllocateBody(BaseModel):
    """Which repository, and for which run."""

    repo_url: Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00-\x1f\x7f]+$")]
    #: The run.
    required_by: Text
    #: How long to wait while every slot is lent; at most a minute counts.
    timeout_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False), NoBool] = 0


class LoanBody(BaseModel):
    """Which loan; what is left out is taken as it stands."""

    run_id: Text | None = None
    generation: Annotated[int, Field(ge=0, le=2**53), NoBool] | None = None


class Holder(BaseModel):
    """Who has a slot."""

    run_id: str


class SlotAnswer(BaseModel):
    """A slot."""

    slot_id: str
    slot_path: str
    repo_url: str
    #: free, dirty (will be cleaned when it is lent), preparing, lent, removing
    status: str
    #: Grows with every loan.
    generation: int
    #: null: nobody.
    holder: Holder | None
    #: Without a renewal for so long, the slot is taken back.
    lease_seconds: float
    #: When it was last lent, renewed or given back.
    updated_at: float


class SlotList(BaseModel):
    """Every slot."""

    slots: list[SlotAnswer]


class Bell:
    """Rung when a slot may have become free, and when the server is about to end. For one event loop."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self.closing = False

    def ring(self) -> None:
        """Wake everybody who waits."""
        self._next.set()
        self._next = asyncio.Event()

    def close(self) -> None:
        """Wake everybody who waits, for good."""
        self.closing = True
        self.ring()

    async def wait(self, seconds: float) -> None:
        """Until the bell rings, at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._next.wait(), seconds)


class _Turns:
    """One at a time for each key."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = lock, users
            else:
                del self._locks[key]


def pool_routes(database: Database, pool: EmbeddedPool, lease: timedelta, bell: Bell) -> APIRouter:
    """The calls, over ``pool``."""
    routes = APIRouter(tags=["repo pool"])
    turns = _Turns()

    def answer(slot: Slot) -> SlotAnswer:
        return SlotAnswer(
            slot_id=slot.slot_id,
            slot_path=str(slot.path),
            repo_url=slot.repo_url,
            status=slot.status,
            generation=slot.generation,
            holder=Holder(run_id=slot.run_id) if slot.run_id is not None and slot.status in HELD else None,
            lease_seconds=lease.total_seconds(),
            updated_at=slot.updated_at.timestamp(),
        )

    def lend(body: AllocateBody, key: str) -> SlotAnswer:
        loan = pool.allocate(body.repo_url, run_id=body.required_by, key=key, timeout=timedelta(0), stop=StopToken())
        return answer(pool.slot(loan.slot_id))

    @routes.post("/slots/allocate", responses=refusals(400, 404, 409, 413))
    async def allocate(
        request: Request, body: AllocateBody, key: IdempotencyKey = None, epoch: Epoch = None
    ) -> SlotAnswer:
        """Lend a slot. While every one is lent it waits up to `timeout_seconds`; then 409 `no_slot`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(body.timeout_seconds, MAX_WAIT.total_seconds())
        key = key_or_new(key)
        async with turns.turn(key):
            if epoch is not None:
                await run_in_threadpool(check_epoch, database, body.required_by, int(epoch))
            while True:
                try:
                    return await run_in_threadpool(lend, body, key)
                except Transient as none_free:
                    left = deadline - loop.time()
                    if none_free.stop_reason != "no_slot" or left <= 0 or await request.is_disconnected():
                        raise
                if bell.closing:
                    raise Refused(503, "closing", "the server is about to end: ask again", {"Retry-After": "1"})
                await bell.wait(min(left, _POLL))

    def loan_of(slot: Slot, body: LoanBody | None) -> tuple[SlotAllocation, str]:
        """What the caller means, and by which run."""
        run_id = body.run_id if body is not None and body.run_id is not None else slot.run_id
        generation = body.generation if body is not None and body.generation is not None else slot.generation
        return SlotAllocation(slot.slot_id, slot.path, generation), run_id or ""

    def give_back(slot_id: str, body: LoanBody | None, key: str | None, epoch: str | None) -> None:
        slot = pool.slot(slot_id)
        loan, run_id = loan_of(slot, body)
        if epoch is not None and run_id:
            check_epoch(database, run_id, int(epoch))
        if key is not None and (body is None or body.generation is None):
            # who names no generation means the loan of that time, not a later one
            done = pool.slot_released_with(key)
            if done is not None:
                if done != slot_id:
                    raise KeyReused(key)
                return
        pool.release(loan, run_id=run_id, key=key_or_new(key))

    @routes.post("/slots/{slot_id}/release", status_code=204, responses=refusals(400, 404, 409, 413))
    async def release(
        slot_id: PathName, body: LoanBody | None = None, key: IdempotencyKey = None, epoch: Epoch = None
    ) -> None:
        """Give a slot back. A loan that has ended stays so: nothing is done then."""
        await run_in_threadpool(give_back, slot_id, body, key, epoch)
        bell.ring()

    @routes.post("/slots/{slot_id}/renew", responses=refusals(400, 409, 413))
    def renew(slot_id: PathName, body: LoanBody | None = None, epoch: Epoch = None) -> SlotAnswer:
        """Say that the run is alive; 409 `slot_lost`: the slot is no longer lent to it."""
        lost = EnvironmentFault(f"slot {slot_id!r} is no longer lent to this run", stop_reason="slot_lost")
        try:
            loan, run_id = loan_of(pool.slot(slot_id), body)
        except NotFound:
            raise lost from None
        if epoch is not None and run_id:
            check_epoch(database, run_id, int(epoch))
        if not pool.holds(loan, run_id=run_id):
            raise lost
        return answer(pool.slot(slot_id))

    @routes.get("/slots", responses=refusals())
    def list_slots() -> SlotList:
        """Every slot of every repository."""
        return SlotList(slots=[answer(slot) for slot in pool.list_slots()])

    @routes.get("/slots/{slot_id}", responses=refusals(404))
    def get_slot(slot_id: PathName) -> SlotAnswer:
        """One slot and its holder."""
        return answer(pool.slot(slot_id))

    return routes


async def reclaim(pool: EmbeddedPool, lease: timedelta, bell: Bell) -> None:
    """Take back what is no longer renewed, until cancelled."""
    while True:
        await asyncio.sleep(min(lease.total_seconds() / 4, 5))
        if await run_in_threadpool(pool.reclaim_leaked):
            bell.ring()
