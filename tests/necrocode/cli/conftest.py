"""Fixtures: a stage, and homes in which something has happened already."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from necrocode.scripted.server import ScriptedServer
from tests.e2e.conftest import play, stage
from tests.e2e.stage import KEY, SOLVE, Stage, script
from tests.memory import tmp_path

__all__ = ["play", "stage", "tmp_path"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage with one completed run (task 1) and one that failed (task 2); tests only look at it."""
    stage = Stage(tmp_path_factory.mktemp("done"))
    stage.make_remote()
    with ScriptedServer(script(*SOLVE, key=KEY)) as model:
        stage.use(model)
        bad = stage.task("bad.json", task_id="2", test_commands=["no-such-command"])
        # long enough for a part of the journal that is kept apart
        good = stage.task(description="greet() should say hello to the one it is given. " * 2000)
        assert stage.necrocode("run", good, bad).code == 1
    yield stage
    stage.left_nothing()
