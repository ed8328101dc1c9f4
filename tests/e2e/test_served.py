"""The whole job with all three services remote: `necrocode serve` on another home, behind tokens."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx

from necrocode.serve.tokens import VARIABLE
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, GATE, PATIENCE, SOLVE, Stage
from tests.necrocode.loopback import Request, Response, serve
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


def test_a_run_whose_slot_the_pool_takes_away_goes_on_in_another(stage: Stage, play: Play, tmp_path: Path) -> None:
    model = play(*SOLVE)
    with command(tmp_path / "served", environ={"PATH": os.environ["PATH"]}) as served:
        env = {"REPO_POOL_URL": served.urls["pool"], "NECROCODE_SLOT_RENEW_SECONDS": "0.1"}
        process = stage.start_gated("run", stage.task(test_commands=[GATE]), **env)
        run_id, slot = stage.only_run.run_id, stage.only_run.data["slot"]
        about = {"run_id": run_id, "generation": slot["generation"]}
        httpx.post(f"{served.urls['pool']}/slots/{slot['slot_id']}/release", json=about).raise_for_status()

        def tests_again() -> bool:
            with stage.journal() as journal:
                begun = [e for e in journal.entries(run_id) if (e.kind, e.name) == ("intent", "command.test")]
            return len(begun) == 2

        stage.wait_until(tests_again, process)
        stage.open_gate()
        done = stage.finish(process)
        slots = httpx.get(f"{served.urls['pool']}/slots").json()["slots"]
    assert done.code == 0, done.err
    assert stage.only_run.data["tenure"] == 2
    assert {each["status"] for each in slots} == {"free"}
    assert stage.branch_updates(BRANCH) == 1
    assert len(model.requests) == 2, "no answer was bought again"


@contextlib.contextmanager
def renewing(stage: Stage, answer: Response | None = None) -> Iterator[threading.Semaphore]:
    """A run that works in a foreign pool's slot: released at each renewal, which gets ``answer`` if there is one. It
    has to end well.
    """
    renewals = threading.Semaphore(0)
    slot = stage.root / "slot"
    slot.mkdir()

    def pool(request: Request) -> Response:
        if request.path[-1] == "renew":
            renewals.release()
            if answer is not None:
                return answer
        return Response(200, {"slot_id": "1", "slot_path": str(slot), "generation": 1})

    with serve(pool) as foreign:
        env = {"REPO_POOL_URL": foreign.url, "NECROCODE_SLOT_RENEW_SECONDS": "0.1"}
        process = stage.start_gated("run", stage.task(test_commands=[GATE]), **env)
        yield renewals
        stage.open_gate()
        done = stage.finish(process)
    assert done.code == 0, done.err


def test_a_run_that_the_pool_calls_superseded_leaves_no_slot_and_renews_no_more(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    told = {"error": {"code": "superseded", "message": "another process drives the run"}}
    with renewing(stage, Response(409, told)) as renewals:
        assert renewals.acquire(timeout=PATIENCE)
        assert not renewals.acquire(timeout=0.5), "once is enough"
    assert stage.only_run.data["tenure"] == 1


def test_a_loan_is_renewed_while_its_run_works(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    with renewing(stage) as renewals:
        assert renewals.acquire(timeout=PATIENCE)
        assert renewals.acquire(timeout=PATIENCE), "and again"
