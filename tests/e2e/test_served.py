"""The whole job with all three services remote: `necrocode serve` on another home, behind tokens."""

from __future__ import annotations

import os
from pathlib import Path

import httpx

from necrocode.serve.tokens import VARIABLE
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, SOLVE, Stage
from tests.necrocode.serve.serving import command

TOKEN = "a-runner-token-of-the-whole-job"


def test_a_run_with_every_service_remote_ends_with_one_event_one_push_and_no_slot_held(
    stage: Stage, play: Play, tmp_path: Path
) -> None:
    play(*SOLVE)
    served_home = tmp_path / "served"
    with command(served_home, environ={**os.environ, VARIABLE: f"runner: {TOKEN}"}) as served:
        done = stage.necrocode(
            "run",
            "--json",
            stage.task(),
            TASK_REGISTRY_URL=served.urls["registry"],
            REPO_POOL_URL=served.urls["pool"],
            ARTIFACT_STORE_URL=served.urls["artifacts"],
            TASK_REGISTRY_TOKEN=TOKEN,
            REPO_POOL_TOKEN=TOKEN,
            ARTIFACT_STORE_TOKEN=TOKEN,
        )
        assert done.code == 0, done.err
        assert BRANCH in stage.branches()
        with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            assert client.get("/tasks/1?spec_name=greeting").json()["status"] == "done"
            events = client.get("/tasks/1/events").json()["events"]
            assert [event["event_type"] for event in events] == ["RunnerStarted", "TaskCompleted"]
            (slot,) = client.get("/slots").json()["slots"]
            assert (slot["status"], slot["holder"], slot["generation"]) == ("free", None, 1)
            assert served_home in Path(slot["slot_path"]).parents
            artifacts = client.get("/tasks/1/artifacts").json()["artifacts"]
            assert sorted(artifact["type"] for artifact in artifacts) == ["diff", "log", "test"]
            for artifact in artifacts:
                assert len(client.get(artifact["uri"]).content) == artifact["size_bytes"]
