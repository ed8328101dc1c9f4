"""Evidence: what is kept of a run as artifacts."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json, Recorded
from necrocode.engine.errors import EffectFailed, EnvironmentFault
from necrocode.states.baseline import EFFECT
from necrocode.states.guards import verdict
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
    """The test results with their outputs, as JSON: every run, those before the change, and the last verdicts."""
    results, before = (
        [{"visit": outcome.visit, **outcome.result} for outcome in ctx.history(state) if outcome.name == name]
        for state, name in (("testing", "command.test"), ("preparing", EFFECT))
    )
    found = {
        "tests": results,
        "verdicts": ctx.data.get("tests", []),
        **({"before_the_change": before} if before else {}),
    }
    return json.dumps(found, indent=1, ensure_ascii=False).encode()


def keep_outputs(ctx: Context, ports: Ports) -> list[Json]:
    """Keep the whole outputs of commands whose results show only their beginnings and ends, if there are any."""
    recorded = [
        outcome
        for state in ("preparing", "implementing", "testing")
        for outcome in ctx.history(state)
        if isinstance(outcome.result, dict) and outcome.result.get("whole")
    ]
    return keep(ctx, ports, "output", "outputs.zip", partial(_outputs, ctx, ports, recorded)) if recorded else []


def _outputs(ctx: Context, ports: Ports, recorded: Sequence[Recorded]) -> bytes:
    """A ZIP file with a file for each output, named by its place and what it is of."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, outcome in enumerate(recorded, 1):
            content = ports.commands.whole_output(ctx.run_id, outcome.result["whole"])
            named = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{outcome.name}-{outcome.key}")[:80]
            # with a date of its own it would be another file each time
            entry = zipfile.ZipInfo(f"{number:03}-{named}.txt", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, b"(it is no longer there)\n" if content is None else content)
    return made.getvalue()


def tally(tests: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """Of the last tests, for reports: how many commands ended in which way, and what hides behind a success."""
    verdicts = Counter(verdict(test) for test in tests)
    told: dict[str, Json] = {"commands": dict(sorted(verdicts.items()))}
    for word in ("flaky", "forgiven"):
        if verdicts[word]:
            told[word] = [
                {
                    "command": test["command"],
                    "runs": test.get("runs", 1),
                    "tests": test.get("flaky_tests" if word == "flaky" else "failed_before", []),
                }
                for test in tests
                if verdict(test) == word
            ]
    return told
