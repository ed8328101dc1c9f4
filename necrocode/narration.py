"""Narration: what happens to a run, as events of its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from necrocode.engine.entry import Entry

_QUIET = ("clock", "head", "random", "version")
"""Outcomes of no effect: what a handler may not ask the world for itself."""


def log_entry(entry: Entry, payload: Mapping[str, Any]) -> None:
    """Log one entry that was committed; intents and results only say that they are there."""
    from necrocode.logs import logger

    log = logger("run")
    facts: dict[str, Any] = {"seq": entry.seq, "state": entry.state, "epoch": entry.epoch}
    match entry.kind:
        case "transition":
            log.info("transition", source=entry.key, trigger=entry.name, **facts)
        case "lease":
            log.info(entry.name, **facts)
        case "closed":
            log.info("ended", **facts)
        case "parked":
            log.warning("parked", reason=entry.name, message=payload.get("message"), **facts)
        case "warning":
            said = {
                key: value for key, value in payload.items() if key not in ("visit", "scope", "ordinal", "settings")
            }
            log.warning(entry.name, **{**said, **facts})
        case "attempt":
            log.warning("attempt failed", effect=entry.name, error=payload["error"]["message"], **facts)
        case "intent":
            log.info("begins", effect=entry.name, key=entry.key, **facts)
        case "outcome" if entry.name not in _QUIET:
            log.info("done", effect=entry.name, key=entry.key, failed="error" in payload, **facts)
