"""A test's folder in memory: for tests that sync all the time, and are about something else."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes that must be free there: a test leaves some megabytes until it ends."""


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder in memory, where there is room: what syncs cost is measured elsewhere.
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
