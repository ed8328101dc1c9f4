"""Runs and entries as JSON: the field names are an API, additions only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from necrocode.engine.effects import Json
from necrocode.engine.entry import Entry
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord

CHAT = "llm.chat"
"""Name of the effect that asks the model."""
BRIEF = "coder.brief"
"""Name of the effect that tells it the task."""


def run_json(journal: Journal, run: RunRecord) -> dict[str, Json]:
    """One run, as ``run --json`` and ``show --json`` print it.

    ``status`` is ``live``, ``interrupted``, ``parked`` or ``closed``; ``public_state`` the coarse word. Times are ISO
    8601, UTC. ``cost_usd`` is ``None`` where the model has no price.
    """
    data, task = run.data, run.data.get("task", {})
    spent = spending(journal, run.run_id)
    slot = data.get("slot")
    return {
        "id": run.run_id,
        "task_id": task.get("task_id"),
        "spec_name": task.get("spec_name"),
        "title": task.get("title"),
        "state": run.state,
        "status": run.status,
        "public_state": public_state(run),
        "stop_reason": run.stop_reason,
        "attempts": data.get("attempt", 0),
        "branch": data.get("branch"),
        "base_commit": data.get("base_commit"),
        "commit": data.get("commit"),
        "pushed": bool(data.get("pushed")),
        "partial_branch": data.get("partial_branch"),
        "partial_commit": data.get("partial_commit"),
        "slot_id": slot["slot_id"] if slot else None,
        "artifacts": data.get("artifacts", []),
        "tests": data.get("tests", []),
        "tests_from": _tests_from(data.get("plan")),
        **spent,
        "error": data.get("error") if run.stop_reason else None,
        "created_at": instant(run.created),
        "updated_at": instant(run.updated),
        "finished_at": instant(run.finished) if run.finished else None,
        "epoch": run.epoch,
        "head_seq": run.head_seq,
        "head_hash": run.head_hash,
    }


def _tests_from(plan: Mapping[str, Any] | None) -> str | None:
    """``task``, ``playbook`` or ``detected``, the playbook's name, and what the baseline is for, if there is one."""
    if plan is None:
        return None
    name = f": {plan['name']}" if plan["name"] else ""
    return f"{plan['source']}{name}" + ("" if plan["baseline"] == "off" else f" (baseline: {plan['baseline']})")


def entry_json(journal: Journal, entry: Entry, *, whole: bool = True) -> dict[str, Json]:
    """One entry with its payload as JSON; not ``whole`` leaves large parts as references."""
    payload = journal.payload(entry) if whole else json.loads(entry.payload)
    return {**entry._asdict(), "at": instant(entry.when), "payload": payload}


def public_state(run: RunRecord) -> str:
    """idle, running, completed or failed."""
    if run.status == "closed":
        return "completed" if run.state == "completed" else "failed"
    return "running" if run.status == "live" else "idle"


def spending(journal: Journal, run_id: str) -> dict[str, Json]:
    """What the model has cost: recorded answers, their tokens and, if there is a price, US dollars.

    ``tokens_doubtful`` are prompts of attempts that failed or died without anybody knowing whether they were billed;
    the cost counts them.
    """
    calls = tokens_in = tokens_out = doubtful = 0
    for entry in journal.outcomes(run_id, CHAT):
        result = journal.payload(entry).get("result")
        if isinstance(result, dict) and "tokens_in" in result:
            calls += 1
            tokens_in += result["tokens_in"]
            tokens_out += result["tokens_out"]
            doubtful += result["tokens_in"] * result.get("doubtful_attempts", 0)
    return {
        "llm_calls": calls,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "tokens_doubtful": doubtful,
        "cost_usd": cost(_price(journal, run_id), tokens_in + doubtful, tokens_out),
    }


def cost(price: Mapping[str, Any] | None, tokens_in: int, tokens_out: int) -> float | None:
    """US dollars for so many tokens at a ``price`` for a million; ``None`` without one."""
    if not price:
        return None
    total = tokens_in * Decimal(str(price["input"])) + tokens_out * Decimal(str(price["output"]))
    return float(total / 1_000_000)


def _price(journal: Journal, run_id: str) -> Mapping[str, Any] | None:
    """The price that the run goes by: the first brief recorded it, else it is what was configured."""
    for entry in journal.outcomes(run_id, BRIEF):
        result = journal.payload(entry).get("result")
        terms = result.get("terms") if isinstance(result, dict) else None
        if terms and terms["price_in"] is not None:
            return {"input": terms["price_in"], "output": terms["price_out"]}
    settings = journal.settings(run_id)
    return (settings.get("prices") or {}).get(settings.get("llm_model"))


def instant(when: datetime) -> str:
    """ISO 8601 in UTC, with microseconds."""
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
