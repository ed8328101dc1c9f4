"""Fixtures: a stage with a remote on it, and a model that plays what a test writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from necrocode.scripted.server import ScriptedServer
from tests.e2e.stage import KEY, Stage, script
from tests.memory import tmp_path

__all__ = ["play", "stage", "tmp_path"]

Play: TypeAlias = Callable[..., ScriptedServer]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage with a remote; after the test, no run may have left anything behind."""
    stage = Stage(tmp_path)
    stage.make_remote()
    yield stage
    stage.left_nothing()


@pytest.fixture
def play(stage: Stage) -> Iterator[Play]:
    """Call it with answers: a model that gives them, and that the stage's runner asks."""
    servers: list[ScriptedServer] = []

    def start(*answers: Any, **more: Any) -> ScriptedServer:
        server = ScriptedServer(script(*answers, **{"key": KEY, **more}))
        servers.append(server)
        stage.use(server)
        return server

    yield start
    for server in servers:
        server.close()
