"""Fixtures: a slot, and a runner of commands with and without the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.sandbox import probe
from tests.necrocode.commands.driving import processes_called, wait_until

Mode = Literal["off", "require"]


@pytest.fixture(params=["off", pytest.param("require", id="bubblewrap")])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each test twice: plain, and in the sandbox where there is one."""
    if request.param == "off":
        return "off"
    if probe().kind != "bubblewrap":
        pytest.skip(probe().why)
    return "require"


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
