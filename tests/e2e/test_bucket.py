"""Whole runs whose artifacts go to a bucket."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest

from tests.crash.scene import rows_of
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, PATIENCE, SOLVE, Stage
from tests.necrocode.artifacts.buckets import BUCKET, SECRET, logins_checked, moto, s3_environ
from tests.necrocode.loopback import Request, Response, closed_port, serve

URL = f"s3://{BUCKET}/runs"
ONE_TRY = {"NECROCODE_NETWORK_RETRY_COUNT": "0"}


def uris(stage: Stage) -> list[str]:
    """Of the artifacts that the registry was told of."""
    return [row["uri"] for row in rows_of(stage.home / "services.db", "SELECT uri FROM task_artifacts")]


def left_no_secret(stage: Stage) -> None:
    for path in stage.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in path.read_bytes(), path


def test_a_run_keeps_its_artifacts_in_the_bucket(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    with moto() as bucket:
        env = {"ARTIFACT_STORE_URL": URL, **bucket.environ}
        done = stage.necrocode("run", stage.task(), **env)
        assert done.code == 0, done.err
        assert stage.only_run.state == "completed"
        assert BRANCH in stage.branches()
        kept = stage.only_run.data["artifacts"]
        assert [artifact["type"] for artifact in kept] == ["diff", "test", "log"]
        assert all(artifact["uri"].startswith(f"{URL}/sha256/") for artifact in kept)
        assert sorted(uris(stage)) == sorted(artifact["uri"] for artifact in kept)
    left_no_secret(stage)


def test_what_a_bucket_that_is_down_does_not_take_is_uploaded_once_it_is_back(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    endpoint = closed_port()
    env = {"ARTIFACT_STORE_URL": URL, **s3_environ(endpoint), **ONE_TRY}
    done = stage.necrocode("run", stage.task(), **env)
    assert done.code == 0, done.err
    assert done.err.count("warning: artifact_not_kept") == 3
    assert f"artifact store {URL}: upload changes.diff: cannot reach {endpoint}: Connection refused" in done.err
    assert [artifact["uri"].partition(":")[0] for artifact in stage.only_run.data["artifacts"]] == ["file"] * 3
    with moto(port=int(endpoint.rpartition(":")[2])):
        # it needs no telling where the run's bucket is: that was recorded; how to get there was not
        key = stage.root / "key"
        key.write_text(f"{SECRET}\n", encoding="utf-8")
        key.chmod(0o600)
        env = {**s3_environ(endpoint), "AWS_SECRET_ACCESS_KEY_FILE": str(key)}
        del env["AWS_SECRET_ACCESS_KEY"]
        mended = stage.necrocode("doctor", "--fix", **env)
        assert mended.code == 0, mended.out
    assert len([uri for uri in uris(stage) if uri.startswith(f"{URL}/sha256/")]) == 3
    left_no_secret(stage)


def test_a_run_that_is_killed_in_an_upload_repeats_it(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    task, over = stage.task(), threading.Event()

    def hang(_: Request) -> Response:
        over.wait(PATIENCE)
        return Response(500)

    with serve(hang) as server:
        process = stage.start("run", task, ARTIFACT_STORE_URL=URL, **s3_environ(server.url))
        stage.wait_until(lambda: bool(server.requests), process)
        process.kill()
        process.communicate()
        over.set()
    with moto() as bucket:
        env = {"ARTIFACT_STORE_URL": URL, **bucket.environ}
        done = stage.necrocode("run", task, **env)
        assert done.code == 0, done.err
        listed = stage.necrocode("artifacts", "list", "--json", **env).json["artifacts"]
    assert [(artifact["type"], artifact["version"]) for artifact in listed] == [("diff", 1), ("test", 1), ("log", 1)]
    assert sorted(artifact["uri"] for artifact in listed) == sorted(uris(stage))
    assert stage.branch_updates(BRANCH) == 1


@pytest.mark.parametrize("there", [False, True])
def test_a_bucket_that_refuses_fails_no_run(stage: Stage, play: Play, there: bool) -> None:
    play(*SOLVE)
    with moto(bucket=BUCKET if there else None) as server, logins_checked(server) if there else nullcontext():
        done = stage.necrocode("run", stage.task(), ARTIFACT_STORE_URL=URL, **server.environ, **ONE_TRY)
    assert done.code == 0, done.err
    assert done.err.count("warning: artifact_not_kept") == 3
    assert ("answered 403: InvalidAccessKeyId" if there else "answered 404: NoSuchBucket") in done.err


def test_another_scheme_ends_before_anything_began(stage: Stage) -> None:
    done = stage.necrocode("run", stage.task(), ARTIFACT_STORE_URL="azure://container/x")
    assert done.code == 2
    assert "artifact_store_url: must be a URL such as" in done.err
    assert not stage.home.exists()
