"""Where bubblewrap does not work: a loud warning, or a parked run where a sandbox is required."""

from __future__ import annotations

import os

import pytest

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


def test_where_it_does_not_work_auto_warns_and_required_parks(
    stage: Stage, play: Play, forbidden: dict[str, str]
) -> None:
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
    (ran,) = [payload for entry, payload in stage.entries() if (entry.kind, entry.name) == ("outcome", "command.test")]
    assert ran["result"]["sandbox"] == "none"
