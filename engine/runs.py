"""The projection: what a run looks like now, and how each entry moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from necrocode.engine.effects import Json
from necrocode.engine.entry import Entry, moment

Status: TypeAlias = Literal["live", "interrupted", "parked", "closed"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One row of ``runs``."""

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
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


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
        created_at=moment(entry.at),
        updated_at=moment(entry.at),
        finished_at=None,
    )


def follow(run: RunRecord, entry: Entry, payload: Mapping[str, Any]) -> RunRecord:
    """The run after ``entry``. Pure: replaying all entries of a run gives its row of the projection."""
    data: Mapping[str, Json] = run.data
    if entry.kind in ("transition", "lease", "parked") and payload.get("patch"):
        data = {**data, **payload["patch"]}
    status, stop_reason, finished_at, version = run.status, run.stop_reason, run.finished_at, run.version
    if entry.kind == "lease":
        if entry.name == "claimed":
            status, stop_reason = "live", None
        elif entry.name == "interrupted":
            status, stop_reason = "interrupted", "interrupted"
        version = payload.get("version", version)
    elif entry.kind == "parked":
        status, stop_reason = "parked", entry.name
    elif entry.kind == "closed":
        status, finished_at = "closed", moment(entry.at)
    if entry.kind in ("transition", "closed") and "stop_reason" in data:
        stop_reason = data["stop_reason"]
    return replace(
        run,
        state=entry.state,
        status=status,
        version=version,
        stop_reason=stop_reason,
        data=data,
        epoch=entry.epoch,
        head_seq=entry.seq,
        head_hash=entry.hash,
        updated_at=moment(entry.at),
        finished_at=finished_at,
    )
