"""Negative controls with real processes: a broken command, killed where it matters, is found out by the invariants."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Literal

import pytest

from tests.crash import processes
from tests.crash.invariants import violations
from tests.crash.nursery import altered, nursery
from tests.crash.plans import Plan
from tests.crash.scenarios import SUCCESS
from tests.crash.trial import staged
from tests.e2e.stage import PATIENCE

BROKEN = Path(__file__).with_name("broken.py")

#: The variant, the entry (kind, state, name) that the first process does not live to write or dies right after, and
#: the invariant that must find it.
CONTROLS = (
    ("answers_unrecorded", "after", "outcome implementing tool.edit_file", "answers_are_bought_once"),
    ("reports_under_new_ids", "before", "outcome reporting registry.event", "registry_was_told_once"),
    ("released_before_it_is", "after", "closed completed completed", "slots_are_given_back_once"),
)


@pytest.mark.parametrize(("variant", "moment", "entry", "invariant"), CONTROLS)
@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
def test_a_broken_command_is_found_out_and_a_whole_one_is_not(
    variant: str, moment: Literal["before", "after"], entry: str, invariant: str, broken: bool, tmp_path: Path
) -> None:
    with staged(Plan(SUCCESS, ()), tmp_path, nursery().start) as trial:
        if broken:
            trial.stage.begin = altered(BROKEN, variant)
        died = trial.stage.start_until(entry, "run", trial.task_file, moment=moment)
        assert died.wait(PATIENCE) == -signal.SIGKILL, trial.stage.output.read_text(encoding="utf-8")
        trial.stage.start_mortal(None, "resume", "--all").wait(PATIENCE)
        found = violations(trial.scene())
        processes.kill(processes.about(tmp_path))
    assert (invariant in {each.invariant for each in found}) == broken, found
    assert broken or not found
