"""Evidence: what is kept of a run as artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EffectFailed, EnvironmentFault
from necrocode.states.loan import workspace_of
from necrocode.states.ports import DISK_TROUBLE, ArtifactStore, Ports
from necrocode.states.reports import artifact_json, report_once_uploaded
from necrocode.states.retries import network_retries


def keep(ctx: Context, ports: Ports, type: str, name: str, content: Callable[[], bytes]) -> list[Json]:
    """Upload one artifact; returns it in a list, or an empty list if it could not be kept, which is warned of.

    What a store elsewhere does not take is kept on this machine, and uploaded once the store can be reached. A disk of
    this machine that is full (or the like) is no store that is down: the run parks, and keeps it later.
    """
    at = ctx.now()

    def upload_to(store: ArtifactStore, attempt: Attempt) -> Json:
        task = ctx.data["task"]
        metadata = {"run_id": ctx.run_id, "task_id": task.get("task_id"), "spec_name": task.get("spec_name")}
        key = attempt.idempotency_key
        return artifact_json(store.upload(content(), type=type, name=name, metadata=metadata, at=at, key=key))

    retry = network_retries(ctx.settings)
    try:
        upload = partial(upload_to, ports.artifacts)
        return [ctx.effect("artifact.upload", upload, key=name, retry=retry, tolerate=_is_no_disk_trouble)]
    except EffectFailed as error:
        ctx.warn("artifact_not_kept", {"name": name, "error": str(error)})
    here = ports.artifacts_here
    # Runs of earlier releases lost it there and then.
    if here is None or not ctx.version("artifacts_here"):
        return []
    try:
        kept = ctx.effect("artifact.keep", partial(upload_to, here), key=name, tolerate=_is_no_disk_trouble)
    except EffectFailed as error:
        ctx.warn("artifact_not_kept", {"name": name, "error": str(error)})
        return []
    report_once_uploaded(ctx, name, kept)
    return [kept]


def _is_no_disk_trouble(fault: EnvironmentFault) -> bool:
    return fault.stop_reason not in DISK_TROUBLE


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
