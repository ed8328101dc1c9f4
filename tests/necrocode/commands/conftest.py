"""Fixtures: a slot, and a runner of commands with and without the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.sandbox import probe
from tests.necrocode.commands.driving import processes_called, wait_until

Mode = Literal["off", "bubblewrap", "landlock"]
Sandbox = Literal["bubblewrap", "landlock"]


@pytest.fixture(params=["off", "bubblewrap", "landlock"])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each test three times: plain, and in each sandbox that works here."""
    mode: Mode = request.param
    return mode if mode == "off" else working(mode)


@pytest.fixture(params=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Each test twice: in each sandbox that works here."""
    return working(request.param)


def working(sandbox: Sandbox) -> Sandbox:
    """``sandbox``; the test is skipped where it does not work."""
    report = probe(sandbox)
    if report.kind == "none":
        pytest.skip(report.why)
    return sandbox


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    """The folder that commands work in."""
    path = tmp_path / "slot"
    path.mkdir()
    return path


@pytest.fixture
def commands_dir(tmp_path: Path) -> Iterator[Path]:
    """Where commands' folders are. After the test no supervisor, keeper or command of it may be left."""
    path = tmp_path / "home" / "commands"
    yield path
    wait_until(lambda: not processes_called(str(path)), seconds=5)


@pytest.fixture
def runner(commands_dir: Path, mode: Mode) -> Iterator[SupervisedCommands]:
    """A runner of commands."""
    with SupervisedCommands(commands_dir, sandbox=mode) as commands:
        yield commands


@pytest.fixture
def plain(commands_dir: Path) -> Iterator[SupervisedCommands]:
    """A runner of commands that confines nothing."""
    with SupervisedCommands(commands_dir, sandbox="off") as commands:
        yield commands
