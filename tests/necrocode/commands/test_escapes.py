"""No attack of the escape suite gets out of a sandbox, and each would be seen if it did."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands, landlock
from necrocode.commands.sandbox import SandboxMode
from tests.necrocode.commands.conftest import working
from tests.necrocode.commands.driving import processes_called, wait_until
from tests.necrocode.commands.escapes import ATTACKS, MULTIPATH, OTHER_CALLS, Attack
from tests.necrocode.commands.scene import LIMITS, Scene

MAY_BE_FORBIDDEN = frozenset(
    {
        "ptrace the runner",
        "read the key by process_vm_readv",
        "take a descriptor of the runner's",
        "write into the user's keyring",
        "make namespaces and mount",
        "reach the machine's host by a virtual socket",
        "io_uring",
        MULTIPATH,
        OTHER_CALLS,
    }
)
"""What a container or the kernel's settings may forbid to everybody: in plain mode nothing is known of these."""

TOO_DANGEROUS = ("a fork bomb",)
"""Not tried in plain mode: "more processes than the limit" stands for it."""


@contextmanager
def running(folder: Path, mode: SandboxMode) -> Iterator[tuple[Path, SupervisedCommands]]:
    """One runner for all the attacks: each has a slot of its own, and its command is forgotten after it."""
    with pytest.MonkeyPatch.context() as patch:
        # the attacks are written in Python
        patch.setenv("PATH", f"{sys.base_prefix}/bin:{os.environ['PATH']}")
        commands_dir = folder / "home" / "commands"
        with SupervisedCommands(commands_dir, sandbox=mode, limits=LIMITS) as commands:
            yield commands_dir, commands
        wait_until(lambda: not processes_called(str(commands_dir)), seconds=5)


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def confining(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, SupervisedCommands]]:
    with running(tmp_path_factory.mktemp("confining"), working(request.param)) as commands:
        yield commands


@pytest.fixture(scope="module")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, SupervisedCommands]]:
    with running(tmp_path_factory.mktemp("plainly"), "off") as commands:
        yield commands


@pytest.fixture
def confined(tmp_path: Path, confining: tuple[Path, SupervisedCommands]) -> Scene:
    """A slot whose commands run in a sandbox."""
    return Scene(tmp_path, *confining)


@pytest.fixture
def unconfined(tmp_path: Path, plainly: tuple[Path, SupervisedCommands]) -> Scene:
    """A slot whose commands run plainly."""
    return Scene(tmp_path, *plainly)


def test_the_attacks_really_run(confined: Scene) -> None:
    assert confined.hostile("nothing")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_attack_escapes(confined: Scene, attack: Attack) -> None:
    _skip_where_it_is_unknown(attack)
    if confined.commands.sandbox_report().kind in attack.scoped and landlock.abi() < landlock.SCOPED_ABI:
        pytest.skip(f"this kernel's Landlock, {landlock.abi()}, has no scopes")
    assert not attack.escapes(confined)


@pytest.mark.parametrize(
    "attack", [one for one in ATTACKS if one.name not in TOO_DANGEROUS], ids=lambda attack: attack.name
)
def test_plain_mode_stops_what_it_says_and_nothing_else(unconfined: Scene, attack: Attack) -> None:
    _skip_where_it_is_unknown(attack)
    escaped = attack.escapes(unconfined)
    if not escaped and attack.name in MAY_BE_FORBIDDEN:
        pytest.skip("forbidden to everybody here")
    assert escaped is not attack.plain_stops


def _skip_where_it_is_unknown(attack: Attack) -> None:
    if attack.name == OTHER_CALLS and platform.machine() != "x86_64":
        pytest.skip("there is only one kind here")
