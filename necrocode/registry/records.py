"""What a registry answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from necrocode.engine.identity import ProcessIdentity


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as a registry knows it."""

    task_id: str
    #: ``None`` if the registry does not say.
    spec_name: str | None
    #: ``ready``, ``running``, ``blocked``, ``done`` or ``failed``; another registry may know more words.
    status: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: ``None`` if the registry does not say.
    updated_at: datetime | None = None
    #: Grows with every change; ``None`` if the registry knows no versions.
    version: int | None = None
    #: As its task set describes it; ``None`` for a task that is in no set.
    definition: Mapping[str, Any] | None = None


OURS = "necrocode"
"""The key in anybody's ``metadata`` or ``details`` below which this program keeps what the format has no place for."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who took a task and has not given it back."""

    #: The home that the run is in, on the holder's host: a later process there may go on with it.
    home: str
    holder: ProcessIdentity
    #: Of the first claim, however often it was taken over since.
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """As :func:`claim_in` reads it."""
        return {"home": self.home, "holder": self.holder.to_json(), "at": self.at.isoformat()}


def ours_of(metadata: Any) -> Mapping[str, Any]:
    """What this program keeps in ``metadata``, to be looked at."""
    kept = metadata.get(OURS) if isinstance(metadata, Mapping) else None
    return kept if isinstance(kept, Mapping) else {}


def claim_in(metadata: Any) -> Claim | None:
    """The claim in a task's ``metadata``, if there is one that can be read."""
    claim = ours_of(metadata).get("claim")
    try:
        if not claim:
            return None
        at = datetime.fromisoformat(claim["at"])
        return Claim(str(claim["home"]), ProcessIdentity.from_json(claim["holder"]), at)
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One event of a task."""

    #: The idempotency key it came with.
    key: str
    event_type: str
    data: Mapping[str, Any]
    epoch: int
    at: datetime
    #: Its place in the registry's history.
    number: int = 0
    task_id: str = ""
    spec_name: str = ""


@dataclass(frozen=True, slots=True)
class TaskSetVersion:
    """One version of a task set, as it was put."""

    spec_name: str
    version: int
    #: Each as it was given, in the order of the set.
    tasks: tuple[Mapping[str, Any], ...]
    metadata: Mapping[str, Any]
    created_at: datetime
    #: When this version was made.
    updated_at: datetime
