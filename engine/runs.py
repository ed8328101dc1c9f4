"""The projection: what a run looks like now, and how each entry moves it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from necrocode.engine.effects import Json
from necrocode.engine.entry import Entry, Kind, moment

Status: TypeAlias = Literal["live", "interrupted", "parked", "closed"]

HEAD_ONLY: frozenset[Kind] = frozenset({"intent", "outcome", "attempt", "warning"})
"""Entries that move a run's head, and nothing else of its row."""


class RunRecord(NamedTuple):
    """One row of ``runs``. Its times are in microseconds since the epoch, UTC, as those of the entries."""

    run_id: str
    #: Name and version of the lifecycle it was made by.
    lifecycle: str
    version: int
    subject: str
    state: str
    status: Status
    #: A stable word for why it ended, parked or was interrupted.
    stop_reason: str | None
    data: Mapping[str, Json]
    epoch: int
    head_seq: int
    head_hash: str
    created_at: int
    updated_at: int
    finished_at: int | None

    @property
    def created(self) -> datetime:
        """``created_at`` as an aware datetime."""
        return moment(self.created_at)

    @property
    def updated(self) -> datetime:
        """``updated_at`` as an aware datetime."""
        return moment(self.updated_at)

    @property
    def finished(self) -> datetime | None:
        """``finished_at`` as an aware datetime."""
        return moment(self.finished_at) if self.finished_at is not None else None


def begin(entry: Entry, payload: Mapping[str, Any]) -> RunRecord:
    """The run that a ``created`` entry begins."""
    return RunRecord(
        run_id=entry.run_id,
        lifecycle=payload["lifecycle"],
        version=payload["version"],
        subject=payload["subject"],
        state=entry.state,
        status="live",
        stop_reason=None,
        data=payload["data"],
        epoch=entry.epoch,
        head_seq=entry.seq,
        head_hash=entry.hash,
        created_at=entry.at,
        updated_at=entry.at,
        finished_at=None,
    )


def follow(run: RunRecord, entry: Entry, payload: Mapping[str, Any]) -> RunRecord:
    """The run after ``entry``. Pure: replaying all entries of a run gives its row of the projection."""
    # Taken apart at once: each field that is asked for by its name costs as much as all of them.
    run_id, lifecycle, version, subject, _, status, stop_reason, data, _, _, _, created_at, _, finished_at = run
    kind = entry.kind
    if kind == "lease":
        if entry.name == "claimed":
            data = _unparked(data) if status == "parked" else data
            status, stop_reason = "live", None
        elif entry.name == "interrupted":
            status, stop_reason = "interrupted", "interrupted"
        version = payload.get("version", version)
    elif kind == "parked":
        data = {**data, _BEFORE: data["error"]} if "error" in data else data
        status, stop_reason = "parked", entry.name
    elif kind == "closed":
        status, finished_at = "closed", entry.at
    if kind in ("transition", "lease", "parked") and payload.get("patch"):
        data = {**data, **payload["patch"]}
    if kind in ("transition", "closed") and "stop_reason" in data:
        stop_reason = data["stop_reason"]
    # By position: keywords cost more than all the rest of this function.
    return RunRecord(
        run_id,
        lifecycle,
        version,
        subject,
        entry.state,
        status,
        stop_reason,
        data,
        entry.epoch,
        entry.seq,
        entry.hash,
        created_at,
        entry.at,
        finished_at,
    )


_BEFORE = "error_before_parking"


def _unparked(data: Mapping[str, Json]) -> Mapping[str, Json]:
    """The data without why the run was parked: what it works on now is the error that stood there before, if any."""
    kept = {key: value for key, value in data.items() if key not in ("error", _BEFORE)}
    return {**kept, "error": data[_BEFORE]} if _BEFORE in data else kept
