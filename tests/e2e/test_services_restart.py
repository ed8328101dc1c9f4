"""The whole job with services in other processes: killed and started again at random, or missing from the start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.crash.scene import rows_of
from tests.e2e.chaos import Part, Play, Weather, staged
from tests.e2e.stage import BRANCH

WHOLE = ["RunnerStarted", "TaskCompleted"]


def test_a_run_outlives_services_that_are_killed_and_started_again(tmp_path: Path) -> None:
    weather = Weather.of("of the tests", each=2)
    with staged(tmp_path / "stage") as play:
        assert play.run(replace(weather, retries=1)) == [], "\n".join(play.said)
        assert sum(service.kills for service in play.services.values()) >= 2
        embedded = [event for _, event in play.stage.events()]
        assert told(play, "registry") + embedded == WHOLE
        assert play.stage.branch_updates(BRANCH) == 1


def test_a_registry_that_is_not_there_yet_gives_way_to_the_embedded_one(tmp_path: Path) -> None:
    with without(tmp_path, "registry") as play:
        done = play.command("run", play.stage.task())
        assert done.code == 0, done.err
        assert done.err.count("warning: registry_fallback") == 1
        play.services["registry"].start()
        assert play.settle() == [], "\n".join(play.said)
        assert [event for _, event in play.stage.events()] == WHOLE
        assert told(play, "registry") == []


def test_a_pool_that_is_not_there_yet_parks_the_run_and_a_store_that_is_not_gets_its_artifacts_later(
    tmp_path: Path,
) -> None:
    with without(tmp_path, "pool") as play:
        done = play.command("run", play.stage.task())
        assert done.code == 3, done.err
        assert (play.stage.only_run.state, play.stage.only_run.status) == ("allocating", "parked")
        assert play.server.requests == []
        play.services["pool"].start()
        play.services["artifacts"].kill()
        done = play.command("resume", "--all")
        assert done.code == 0, done.err
        assert done.err.count("warning: artifact_not_kept") == 3
        play.services["artifacts"].start()
        assert play.settle() == [], "\n".join(play.said)
        kept = rows_of(play.services["artifacts"].home / "services.db", "SELECT type FROM artifacts")
        assert sorted(row["type"] for row in kept) == ["diff", "log", "test"]
        assert told(play, "registry") == WHOLE


@contextlib.contextmanager
def without(folder: Path, part: Part) -> Iterator[Play]:
    """A stage whose run tries everything twice, and where one service was not started."""
    with staged(folder / "stage", missing=[part]) as play:
        play.stage.environment["NECROCODE_NETWORK_RETRY_COUNT"] = "1"
        yield play


def told(play: Play, part: Part) -> list[str]:
    """The events in the database of a service."""
    query = "SELECT event_type FROM task_events ORDER BY id"
    return [row["event_type"] for row in rows_of(play.services[part].home / "services.db", query)]
