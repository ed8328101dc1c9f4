"""artifacts: listed and exported; and how long each type is kept."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from necrocode.artifacts.listing import list_versions
from necrocode.config_sources import load_config
from necrocode.pruning import prune
from necrocode.runner import Runner
from tests.e2e.conftest import Play
from tests.e2e.stage import SOLVE, Stage
from tests.necrocode.artifacts.buckets import BUCKET, moto
from tests.necrocode.loopback import Response, serve

URL = f"s3://{BUCKET}/runs"
RULES = {"log": 7, "diff": 365}


@contextmanager
def runner_of(stage: Stage, **settings: Any) -> Iterator[Runner]:
    """The stage's home, opened here."""
    loaded = load_config({"home": stage.home, **settings}, None, {"HOME": str(stage.root)}, stage.root)
    with Runner(loaded, {}) as runner:
        yield runner


def types(runner: Runner) -> list[str]:
    return sorted(version.stored.artifact.type for version in list_versions(runner))


def went(runner: Runner, now: datetime, *, dry_run: bool = False) -> tuple[int, int]:
    """How many runs and artifacts went."""
    gone = prune(runner, by="a test", now=now, dry_run=dry_run)
    assert gone.problems == ()
    return len(gone.runs), gone.artifacts


def goes_in_time(stage: Stage, settings: Mapping[str, Any]) -> None:
    """Prune again and again as days go by: the log goes first, the diff outlives its run."""
    run_id, ended = stage.only_run.run_id, stage.only_run.finished
    assert ended is not None
    with runner_of(stage, artifact_retention_days=RULES, **settings) as runner:
        assert types(runner) == ["diff", "log", "test"]
        assert went(runner, ended + timedelta(days=6)) == (0, 0)
        assert went(runner, ended + timedelta(days=7, minutes=1), dry_run=True) == (0, 1)
        assert went(runner, ended + timedelta(days=7, minutes=1)) == (0, 1)
        assert types(runner) == ["diff", "test"]
        assert went(runner, ended + timedelta(days=30, minutes=1)) == (1, 1)
        assert stage.runs() == []
        assert types(runner) == ["diff"]
        assert [version.number for version in list_versions(runner, run=run_id, task="greeting/1")] == [1]
        assert went(runner, ended + timedelta(days=364)) == (0, 0)
        assert went(runner, ended + timedelta(days=365, minutes=1)) == (0, 1)
        assert types(runner) == []


def test_each_type_is_kept_for_its_own_time(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("run", stage.task()).code == 0
    goes_in_time(stage, {})
    assert not [path for path in (stage.home / "artifacts").rglob("*") if path.is_file()]


def test_each_type_is_kept_for_its_own_time_in_a_bucket(
    stage: Stage, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(*SOLVE)
    with moto() as bucket:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        assert stage.necrocode("run", stage.task(), ARTIFACT_STORE_URL=URL, **bucket.environ).code == 0
        goes_in_time(stage, {"artifact_store_url": URL})


def test_a_run_whose_bucket_refuses_waits_for_it(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    with moto() as bucket:
        env = {"ARTIFACT_STORE_URL": URL, **bucket.environ}
        assert stage.necrocode("run", stage.task(), **env).code == 0
        with serve(lambda _: Response(403)) as server:
            refused = stage.necrocode("prune", "--older-than", "0", **{**env, "AWS_ENDPOINT_URL": server.url})
        assert refused.code == 3
        assert f"error: artifact store {URL}: list artifacts: answered 403" in refused.err
        assert "0 runs" in refused.out
        assert len(stage.runs()) == 1
        gone = stage.necrocode("prune", "--older-than", "0", "--json", **env)
        assert gone.code == 0, gone.err
        assert (gone.json["artifacts"], len(gone.json["runs"])) == (3, 1)


def test_artifacts_are_listed_and_exported(stage: Stage, play: Play) -> None:
    play(*SOLVE, *SOLVE)
    task, other = stage.task(), stage.task("b.json", task_id="b")
    assert stage.necrocode("run", task, other).code == 0
    first, second = stage.runs()
    listed = stage.necrocode("artifacts", "list", "--json").json["artifacts"]
    assert len(listed) == 6
    assert {artifact["version"] for artifact in listed} == {1}
    of_run = stage.necrocode("artifacts", "list", "--json", "--run", first.run_id[-8:]).json["artifacts"]
    assert [artifact["name"] for artifact in of_run] == ["changes.diff", "tests.json", "run.log"]
    of_task = stage.necrocode("artifacts", "list", "--json", "--task", "greeting/b", "--type", "diff").json["artifacts"]
    assert [(artifact["task"], artifact["run_id"]) for artifact in of_task] == [("greeting/b", second.run_id)]
    for people in (stage.necrocode("artifacts", "list"), stage.necrocode("artifacts", "list", "--type", "none")):
        assert people.code == 0
    assert people.out == "no artifacts\n"

    target = stage.root / "out.zip"
    done = stage.necrocode("artifacts", "export", "--run", first.run_id, target)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{target}: 3 artifacts (")
    with zipfile.ZipFile(target) as archive:
        paths = [each["path"] for each in json.loads(archive.read("manifest.json"))["artifacts"]]
        run = first.run_id
        assert paths == [f"{run}/diff/1-changes.diff", f"{run}/test/1-tests.json", f"{run}/log/1-run.log"]
        assert b"hello, {name}" in archive.read(paths[0])
    again = stage.necrocode("artifacts", "export", target)
    assert (again.code, "--force" in again.err) == (2, True)
    assert stage.necrocode("artifacts", "export", "--force", target).code == 0

    harmed = Path(of_run[0]["uri"].removeprefix("file://"))
    harmed.write_bytes(b"harmed")
    damaged = stage.necrocode("artifacts", "export", stage.root / "other.zip")
    assert damaged.code == 5
    assert "1-changes.diff" in damaged.err and "is damaged" in damaged.err
    assert not (stage.root / "other.zip").exists()
    assert stage.necrocode("artifacts", "list", "--run", "nonsense").code == 2


def test_what_a_bucket_has_is_listed_once_even_if_it_was_kept_here_before(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    with moto() as bucket, serve(lambda _: Response(503)) as down:
        env = {"ARTIFACT_STORE_URL": URL, **bucket.environ, "NECROCODE_NETWORK_RETRY_COUNT": "0"}
        assert stage.necrocode("run", stage.task(), **{**env, "AWS_ENDPOINT_URL": down.url}).code == 0
        assert stage.necrocode("doctor", "--fix", **env).code == 0
        listed = stage.necrocode("artifacts", "list", "--json", **env).json["artifacts"]
        assert len(listed) == 3
        assert all(artifact["uri"].startswith(f"{URL}/") and artifact["version"] == 1 for artifact in listed)
        assert stage.necrocode("artifacts", "export", stage.root / "out.zip", **env).code == 0
