"""doctor: what is wrong, what to do about it, and --fix for what needs no decision."""

from __future__ import annotations

import os
import signal

from tests.e2e.conftest import Play
from tests.e2e.stage import GATE, SOLVE, Stage


def test_doctor_names_each_unfinished_run_and_the_way_out(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("run", stage.task(), LLM_API_KEY="a-wrong-key-this-is").code == 3
    process = stage.start_gated("run", stage.task("b.json", task_id="b", test_commands=[GATE]))
    driven = stage.necrocode("doctor", "--json")
    os.kill(process.pid, signal.SIGKILL)
    stage.finish(process)
    parked, died = stage.runs()
    # a run that is being driven is nothing to worry about
    assert f"run {died.run_id}" not in [finding["subject"] for finding in driven.json["findings"]]

    looked = stage.necrocode("doctor", "--fix")
    assert looked.code == 3
    assert f"TO DO run {parked.run_id}: parked in implementing" in looked.out
    assert f"TO DO run {died.run_id}: died in testing" in looked.out
    for run in (parked, died):
        assert f"necrocode resume {run.run_id}" in looked.out and f"necrocode cancel {run.run_id}" in looked.out
        assert stage.necrocode("cancel", run.run_id).code == 0
    assert stage.necrocode("doctor").code == 0


def test_doctor_reports_damage_and_a_missing_key(stage: Stage) -> None:
    looked = stage.necrocode("doctor", LLM_API_KEY="")
    assert looked.code == 0
    assert "not set: LLM_API_KEY" in looked.out and "export LLM_API_KEY" in looked.out
