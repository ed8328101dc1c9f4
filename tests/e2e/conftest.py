"""Fixtures: a stage with a remote on it, and a model that plays what a test writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from necrocode.scripted.server import ScriptedServer
from tests.e2e.stage import KEY, Stage, script

Play: TypeAlias = Callable[..., ScriptedServer]


MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes that must be free there: a test leaves some megabytes until it ends."""


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder in memory, where there is room: whole runs sync all the time, and what that costs is measured elsewhere.
    One of a test that failed is kept.
    """
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM):
        yield tmp_path_factory.mktemp("stage")
        return
    folder = Path(tempfile.mkdtemp(prefix="stage-", dir=MEMORY))
    failed = request.session.testsfailed
    yield folder
    if request.session.testsfailed == failed:
        shutil.rmtree(folder, ignore_errors=True)


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
