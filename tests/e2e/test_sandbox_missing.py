"""Where bubblewrap does not work: the fallback; where that does not either, a warning, or a parked run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from necrocode.commands.sandbox import probe
from tests.e2e.conftest import Play
from tests.e2e.stage import SOLVE, Stage


@pytest.fixture
def forbidden(stage: Stage) -> dict[str, str]:
    """An environment in which bubblewrap is found and fails, as where user namespaces are forbidden."""
    tools = stage.root / "bin"
    tools.mkdir()
    bubblewrap = tools / "bwrap"
    bubblewrap.write_text("#!/bin/sh\necho 'no permissions to create a new namespace' >&2\nexit 1\n", encoding="ascii")
    bubblewrap.chmod(0o755)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


@pytest.fixture
def old_kernel(stage: Stage) -> None:
    """The stage's commands run on a kernel that has no Landlock."""
    stage.prefix = (sys.executable, str(Path(__file__).with_name("without_landlock.py")))


@pytest.mark.skipif(probe("landlock").kind == "none", reason=probe("landlock").why)
def test_the_fallback_takes_its_place_and_doctor_says_why(stage: Stage, play: Play, forbidden: dict[str, str]) -> None:
    play(*SOLVE)
    task = stage.task()
    assert stage.necrocode("run", "--sandbox", "bubblewrap", task, **forbidden).code == 3
    assert stage.only_run.stop_reason == "sandbox_missing"
    looked = stage.necrocode("doctor", **forbidden)
    assert "landlock: Landlock" in looked.out and "no permissions to create a new namespace" in looked.out
    done = stage.necrocode("run", "--sandbox", "required", task, **forbidden)
    assert done.code == 0, done.err
    assert "WITHOUT" not in done.err
    assert _sandboxes(stage)[-1] == "landlock"


@pytest.mark.usefixtures("old_kernel")
def test_where_none_works_auto_warns_and_required_parks(stage: Stage, play: Play, forbidden: dict[str, str]) -> None:
    play(*SOLVE)
    task = stage.task()
    parked = stage.necrocode("run", "--sandbox", "required", task, **forbidden)
    assert parked.code == 3, parked.err
    assert stage.only_run.stop_reason == "sandbox_missing"
    assert "no permissions to create a new namespace" in parked.err
    assert stage.necrocode("doctor", **forbidden, NECROCODE_SANDBOX="required").code == 3
    done = stage.necrocode("run", "--sandbox", "auto", task, **forbidden)
    assert done.code == 0, done.err
    assert "WITHOUT a sandbox" in done.err


def test_off_is_no_warning_and_what_confined_a_command_is_recorded(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    done = stage.necrocode("run", "--sandbox", "off", stage.task())
    assert done.code == 0, done.err
    assert "WITHOUT" not in done.err
    assert _sandboxes(stage) == ["none"]


def _sandboxes(stage: Stage) -> list[str]:
    """What confined the test commands of the only run."""
    ran = [payload for entry, payload in stage.entries() if (entry.kind, entry.name) == ("outcome", "command.test")]
    return [payload["result"]["sandbox"] for payload in ran]
