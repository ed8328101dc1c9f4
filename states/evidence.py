"""Evidence: what is kept of a run as artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EffectFailed
from necrocode.states.loan import workspace_of
from necrocode.states.ports import DISK_TROUBLE, Ports
from necrocode.states.reports import artifact_json
from necrocode.states.retries import network_retries


def keep(ctx: Context, ports: Ports, type: str, name: str, content: Callable[[], bytes]) -> list[Json]:
    """Upload one artifact; returns it in a list, or an empty list if it could not be kept, which is warned of.

    A disk of this machine that is full (or the like) is no store that is down: the run parks, and keeps it later.
    """
    at = ctx.now()

    def upload(attempt: Attempt) -> Json:
        return artifact_json(
            ports.artifacts.upload(
                content(),
                type=type,
                name=name,
                metadata={"run_id": ctx.run_id, "task_id": ctx.data["task"].get("task_id")},
                at=at,
                key=attempt.idempotency_key,
            )
        )

    try:
        return [
            ctx.effect(
                "artifact.upload",
                upload,
                key=name,
                retry=network_retries(ctx.settings),
                tolerate=lambda fault: fault.stop_reason not in DISK_TROUBLE,
            )
        ]
    except EffectFailed as error:
        ctx.warn("artifact_not_kept", {"name": name, "error": str(error)})
        return []


def diff(ctx: Context, ports: Ports, tree: str) -> bytes:
    """The diff from the base to ``tree``, masked."""
    content = workspace_of(ctx, ports).diff(ctx.data["base_tree"], tree)
    if ports.credentials.found_in(content) is None:
        return content
    # Surrogates keep every other byte as it was.
    return ports.credentials.mask(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def tests(ctx: Context) -> bytes:
    """The test results with their outputs, as JSON."""
    results = [
        {"visit": outcome.visit, **outcome.result}
        for outcome in ctx.history("testing")
        if outcome.name == "command.test"
    ]
    return json.dumps({"tests": results}, indent=1, ensure_ascii=False).encode()
