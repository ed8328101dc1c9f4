"""A repo pool somewhere else, whose slots are folders on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from necrocode.engine.errors import EnvironmentFault, Transient
from necrocode.engine.stop import StopToken
from necrocode.rest import Answer, Call, Service, Token, segment
from necrocode.states.ports import SlotAllocation

#: How long the pool is asked to wait for a slot in one call: a stop is noticed between calls.
_ONE_WAIT = timedelta(seconds=5)
#: Between two calls that were answered "none is free" at once.
_PAUSE = timedelta(seconds=1)
_FREE = frozenset({"free", "available", "idle", "released"})


class RepoPoolClient:
    """Implements the port :class:`necrocode.states.ports.RepoPool` over REST; raises as :class:`Service` says.

    ====================================  ====================================================
    call                                  body → answer
    ====================================  ====================================================
    ``POST /slots/allocate``              ``{repo_url, required_by, timeout_seconds}`` →
                                          ``{slot_id, slot_path, generation?}``; 409: none is free
                                          (unless its ``error.code`` says otherwise)
    ``POST /slots/{id}/release``          ``{run_id, generation}``; 404, 409, 410: the loan had ended
    ``POST /slots/{id}/renew``            ``{run_id, generation}``; 409, 410: the loan has ended; 404, 405,
                                          501: the pool knows no renewal
    ``GET /slots/{id}``                   → ``{status?, generation?, holder?}``, ``holder`` a run id or ``{run_id}``
    ``GET /health``                       answers 200
    ====================================  ====================================================

    A 409 whose ``error.code`` is ``superseded`` says that another process drives the run by now, and nothing of loans.
    A pool that says neither generation, holder nor status is believed to keep a loan until it is released.
    """

    def __init__(
        self,
        base_url: str,
        token: Token = None,
        *,
        timeout: timedelta = timedelta(seconds=30),
        mask: Callable[[str], str] = str,
        epoch: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``epoch`` gives the run's epoch for the ``X-Necrocode-Epoch`` header."""
        self._service = Service("repo pool", base_url, token=token, timeout=timeout, mask=mask)
        self._timeout = timeout
        self._epoch = epoch

    def allocate(self, repo_url: str, *, run_id: str, key: str, timeout: timedelta, stop: StopToken) -> SlotAllocation:
        """Lend a slot, waiting up to ``timeout`` while none is free."""
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            stop.check()
            left = timedelta(seconds=max(0.0, deadline - time.monotonic()))
            wait = min(left, _ONE_WAIT)
            body = {"repo_url": repo_url, "required_by": run_id, "timeout_seconds": wait.total_seconds()}
            asked = time.monotonic()
            call = self._write(
                "allocate a slot", "/slots/allocate", body, key, accept=(409,), timeout=self._timeout + wait
            )
            answer = self._service.call(call)
            if answer.status != 409:
                return self._loan(answer, run_id, key)
            if answer.code not in ("", "no_slot"):
                raise self._service.refused(call, answer)
            if time.monotonic() >= deadline:
                raise Transient(
                    f"repo pool: allocate a slot: none became free within {timeout.total_seconds():g} s",
                    stop_reason="no_slot",
                )
            # a pool that waited as it was asked to is asked again at once
            if time.monotonic() - asked < _PAUSE.total_seconds():
                stop.wait(min(_PAUSE, left))

    def release(self, loan: SlotAllocation, *, run_id: str, key: str) -> None:
        """Give the slot back; nothing if the loan has already ended. Raises as :meth:`renew` does if superseded."""
        self._release(loan.slot_id, loan.generation, run_id, key)

    def holds(self, loan: SlotAllocation, *, run_id: str) -> bool:
        """Whether the pool says that the loan is still this run's."""
        call = Call("look at the slot", "GET", f"/slots/{segment(loan.slot_id)}", accept=(404, 410))
        answer = self._service.call(call)
        if answer.status in (404, 410):
            return False
        slot = answer.mapping()
        status = slot.get("status", slot.get("state"))
        if isinstance(status, str) and status.lower() in _FREE:
            return False
        generation = slot.get("generation")
        if loan.generation is not None and generation is not None and generation != loan.generation:
            return False
        return "holder" not in slot or _holder(slot) == run_id

    def renew(self, loan: SlotAllocation, *, run_id: str) -> None:
        """Say that the run is alive.

        Raises :class:`EnvironmentFault` ``slot_lost`` if the slot is the run's no longer, and ``superseded`` if another
        process drives the run, whose slot it may well be.
        """
        body = _about(run_id, loan.generation)
        path = f"/slots/{segment(loan.slot_id)}/renew"
        call = self._write("renew the loan", path, body, None, accept=(404, 405, 409, 410, 501))
        answer = self._service.call(call)
        if answer.code == "superseded":
            raise self._service.refused(call, answer)
        if answer.status in (409, 410):
            raise EnvironmentFault(
                f"repo pool: slot {loan.slot_id} is no longer lent to this run", stop_reason="slot_lost"
            )

    def health_check(self) -> None:
        """Raises if the pool is not there."""
        self._service.health_check()

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def _loan(self, answer: Answer, run_id: str, key: str) -> SlotAllocation:
        slot_id = answer.text("slot_id")
        generation = answer.mapping().get("generation")
        try:
            if not isinstance(generation, int | None) or isinstance(generation, bool):
                raise answer.bad("field 'generation' of the answer must be a whole number")
            path = Path(answer.text("slot_path"))
            if not path.is_absolute() or ".." in path.parts:
                raise answer.bad(f"field 'slot_path' of the answer must be an absolute path, not {str(path)!r}")
            if not _is_folder(path):
                raise answer.bad(f"slot {slot_id} is {path}, and there is no such folder on this machine")
        except EnvironmentFault as refused:
            # it was lent to us all the same, and nobody else would give it back
            try:
                self._release(slot_id, generation, run_id, f"{key}/refused")
            except EnvironmentFault as error:
                text = f"{refused}; and slot {slot_id} could not be given back: {error}"
                raise EnvironmentFault(text, stop_reason=refused.stop_reason) from error
            raise
        return SlotAllocation(slot_id=slot_id, slot_path=path, generation=generation, kind="pool")

    def _release(self, slot_id: str, generation: Any, run_id: str, key: str) -> None:
        path = f"/slots/{segment(slot_id)}/release"
        call = self._write("release the slot", path, _about(run_id, generation), key, accept=(404, 409, 410))
        answer = self._service.call(call)
        if answer.code == "superseded":
            raise self._service.refused(call, answer)

    def _write(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any],
        key: str | None,
        *,
        accept: tuple[int, ...],
        timeout: timedelta | None = None,
    ) -> Call:
        return Call(what, "POST", path, body=body, key=key, epoch=self._epoch(), accept=accept, timeout=timeout)


def _about(run_id: str, generation: Any) -> dict[str, Any]:
    return {"run_id": run_id} if generation is None else {"run_id": run_id, "generation": generation}


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # longer than a name may be, or not ours to look at
        return False


def _holder(slot: Mapping[str, Any]) -> object:
    holder = slot["holder"]
    return holder.get("run_id") if isinstance(holder, dict) else holder
