"""Ctrl-C, SIGTERM, cancel, watch, and two processes for one run: each with a run held in the middle."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, GATE, SOLVE, Stage, processes_of


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_resumable_run_that_is_never_picked_up_unasked(
    stage: Stage, play: Play, sent: signal.Signals
) -> None:
    model = play(*SOLVE)
    task = stage.task(test_commands=[GATE])
    process = stage.start_gated("run", task)
    process.send_signal(sent)
    done = stage.finish(process)
    assert done.code == 130, done.err
    run = stage.only_run
    assert run.status == "interrupted"
    assert f"necrocode resume {run.run_id}" in done.err
    assert processes_of(stage.root) == []

    everything = stage.necrocode("resume", "--all")
    assert everything.code == 0
    assert run.run_id in everything.err and "stopped by a user" in everything.err
    play_other = stage.task("other.json", task_id="2", test_commands=["sh check.sh"])
    other = stage.necrocode("run", "--recover", play_other)
    assert other.code == 0, other.err
    (still,) = [each for each in stage.runs() if each.run_id == run.run_id]
    assert (still.status, still.head_seq) == ("interrupted", run.head_seq)

    stage.open_gate(run.run_id)
    resumed = stage.necrocode("resume", run.run_id[-8:])
    assert resumed.code == 0, resumed.err
    assert stage.branch_updates(BRANCH) == 1
    assert model.answered == [0, 1] * 2


def test_ctrl_c_while_the_model_thinks_ends_at_once_and_the_answer_is_asked_for_again(stage: Stage, play: Play) -> None:
    model = play({**SOLVE[0], "delay_seconds": 60}, SOLVE[1])
    process = stage.start("run", stage.task())
    stage.wait_until(lambda: bool(model.requests), process)
    process.send_signal(signal.SIGINT)
    done = stage.finish(process, timeout=30)
    assert done.code == 130, done.err
    play(*SOLVE)
    assert stage.necrocode("resume", "--all", "--interrupted").code == 0
    assert stage.branch_updates(BRANCH) == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_with_several_runs_leaves_each_of_them_resumable(stage: Stage, play: Play, jobs: str) -> None:
    play(*SOLVE)
    tasks = [stage.task(f"{n}.json", task_id=str(n), test_commands=[GATE]) for n in range(3)]
    # two of them are in the middle of their tests, the third has to wait for its turn
    process = stage.start("run", "--jobs", jobs, *tasks)
    driven = ["testing"] * int(jobs)
    stage.wait_until(lambda: [run.state for run in stage.runs()][: int(jobs)] == driven, process)
    process.send_signal(signal.SIGINT)
    done = stage.finish(process)
    assert done.code == 130, done.err
    runs = stage.runs()
    assert [run.status for run in runs] == ["interrupted"] * 3
    assert "left alone" in stage.necrocode("resume", "--all").err
    unnamed = stage.necrocode("resume")
    assert unnamed.code == 2
    assert all(run.run_id in unnamed.err for run in runs)
    assert [run.head_seq for run in stage.runs()] == [run.head_seq for run in runs]
    for run in runs:
        assert f"necrocode resume {run.run_id}" in done.err
        assert stage.necrocode("cancel", run.run_id).code == 0


def test_a_second_process_for_the_same_run_is_turned_away_with_exit_code_4(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    task = stage.task(test_commands=[GATE])
    process = stage.start_gated("run", task)
    run_id = stage.only_run.run_id
    watched = stage.start("watch", run_id)
    for command in (["run", task], ["resume", run_id]):
        done = stage.necrocode(*command)
        assert done.code == 4, done.err
        assert run_id in done.err and str(process.pid) in done.err
    as_json = stage.necrocode("run", "--json", task)
    assert (as_json.code, as_json.json["run"]["id"]) == (4, run_id)
    assert f"necrocode watch {run_id}" in as_json.err
    everything = stage.necrocode("resume", "--all")
    assert everything.code == 0
    assert "nothing to resume" in everything.err
    fresh = stage.necrocode("run", "--new", task)
    assert fresh.code == 2, fresh.err
    assert run_id in fresh.err
    stage.open_gate()
    assert stage.finish(process).code == 0
    seen = stage.finish(watched)
    assert seen.code == 0
    assert "completed: closed" in seen.out and "git.push" in seen.out
    assert model.answered == [0, 1]
    assert stage.branch_updates(BRANCH) == 1


def test_a_process_that_hangs_is_ended_by_whoever_takes_its_run_over(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    stage.environment["NECROCODE_LEASE_SECONDS"] = "1"
    process = stage.start_gated("run", stage.task(test_commands=[GATE]))
    run_id = stage.only_run.run_id
    os.kill(process.pid, signal.SIGSTOP)
    assert stage.necrocode("resume", run_id).code == 4
    stage.open_gate()
    taken = stage.necrocode("resume", run_id, "--take-over")
    assert taken.code == 0, taken.err
    assert "watched for 1 s" in taken.err
    assert stage.finish(process).code == -signal.SIGKILL
    assert stage.only_run.epoch == 2
    assert model.answered == [0, 1]
    assert stage.branch_updates(BRANCH) == 1
    assert stage.events() == [("1", "RunnerStarted"), ("1", "TaskCompleted")]
    assert stage.lent_slots() == {}
    assert stage.necrocode("verify", "--all").code == 0
    assert stage.necrocode("doctor").code == 0


def test_cancelling_a_live_run_ends_it_and_cleans_up(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    process = stage.start_gated("run", stage.task(test_commands=[GATE]))
    run_id = stage.only_run.run_id
    cancelled = stage.necrocode("cancel", run_id)
    assert cancelled.code == 0, cancelled.err
    assert "cancelled" in cancelled.out
    driver = stage.finish(process)
    assert driver.code == 1, driver.err
    _assert_cancelled(stage)
    again = stage.necrocode("cancel", "--json", run_id)
    assert again.code == 0
    assert again.json["run"]["state"] == "cancelled"
    assert "ended already" in again.err


@pytest.mark.parametrize("how", ["died", "interrupted", "parked"])
def test_cancelling_a_run_that_nobody_drives_cleans_up_after_it(stage: Stage, play: Play, how: str) -> None:
    play(*SOLVE)
    if how == "parked":
        assert stage.necrocode("run", stage.task(), LLM_API_KEY="a-wrong-key-this-is").code == 3
    else:
        process = stage.start_gated("run", stage.task(test_commands=[GATE]))
        os.kill(process.pid, signal.SIGKILL if how == "died" else signal.SIGINT)
        stage.finish(process)
    cancelled = stage.necrocode("cancel", stage.only_run.run_id)
    assert cancelled.code == 0, cancelled.err
    _assert_cancelled(stage)


def _assert_cancelled(stage: Stage) -> None:
    run = stage.only_run
    assert (run.state, run.status, run.stop_reason) == ("cancelled", "closed", "cancelled")
    assert stage.events() == [("1", "RunnerStarted"), ("1", "TaskFailed")]
    assert stage.lent_slots() == {}
    assert set(stage.branches()) == {"main"}
    assert processes_of(stage.root) == []


def test_watch_ends_with_what_became_of_the_run(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("run", stage.task(), LLM_API_KEY="a-wrong-key-this-is").code == 3
    parked = stage.necrocode("watch", stage.only_run.run_id)
    assert parked.code == 3
    assert "parked llm_auth" in parked.out
    process = stage.start_gated("run", stage.task("other.json", task_id="2", test_commands=[GATE]))
    os.kill(process.pid, signal.SIGKILL)
    stage.finish(process)
    dead = stage.necrocode("watch", stage.runs()[1].run_id)
    assert dead.code == 3
    assert f"necrocode resume {stage.runs()[1].run_id}" in dead.out
    assert stage.necrocode("cancel", stage.runs()[1].run_id).code == 0
