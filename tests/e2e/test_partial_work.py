"""Partial work: what a failed or cancelled run leaves is pushed to a branch of its own, if that was asked for."""

from __future__ import annotations

import pytest

from necrocode.demo.stage import git
from necrocode.states.partial import PREFIX
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, EDIT, FINISH, GATE, Stage, calls

PARTIAL = PREFIX + BRANCH
TRAILER = "Necrocode-Task: greeting/1"
WRONG = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return 'hullo'\n"}))
ONCE = {"NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS": "1"}
ASKED = {"NECROCODE_PUSH_PARTIAL_WORK": "true", **ONCE}


def message_of(stage: Stage, branch: str) -> list[str]:
    """The lines of the message of a branch's last commit."""
    return git(stage.remote, "log", "-1", "--format=%B", branch).strip().splitlines()


@pytest.mark.parametrize("how", ["flag", "setting"])
def test_a_failed_run_pushes_the_coders_last_files(stage: Stage, play: Play, how: str) -> None:
    play(WRONG, FINISH)
    flags = ["--push-partial-work"] if how == "flag" else []
    # What set-up and the tests leave lying about is no work of the coder's.
    task = stage.task(setup_commands=["echo x > set-up.txt"], test_commands=["echo x > junk.txt; sh check.sh"])
    done = stage.necrocode("run", *flags, task, **(ONCE if how == "flag" else ASKED))
    assert done.code == 1, done.err
    assert PARTIAL in done.err
    run, branches = stage.only_run, stage.branches()
    assert (run.state, run.stop_reason) == ("failed", "tests_failed")
    assert set(branches) == {"main", PARTIAL}
    assert git(stage.remote, "rev-parse", f"{PARTIAL}^").strip() == branches["main"]
    assert git(stage.remote, "diff", "--name-only", "main", PARTIAL).split() == ["greet.py"]
    assert "hullo" in git(stage.remote, "show", f"{PARTIAL}:greet.py")
    lines = message_of(stage, PARTIAL)
    assert lines[0] == "wip(task-1): Greet by name"
    assert lines[-3:] == [TRAILER, f"Necrocode-Run: {run.run_id}", "Necrocode-Stop-Reason: tests_failed"]
    shown = stage.necrocode("show", run.run_id, "--json").json
    assert (shown["run"]["partial_branch"], shown["run"]["partial_commit"]) == (PARTIAL, branches[PARTIAL])
    assert not shown["run"]["pushed"]
    assert [event for _, event in stage.events()] == ["RunnerStarted", "TaskFailed"]
    assert stage.event_data("TaskFailed")["partial_branch"] == PARTIAL
    assert stage.branch_updates(PARTIAL) == 1


def test_nothing_is_pushed_unless_asked_for_and_nothing_by_a_run_that_is_not_to_push(stage: Stage, play: Play) -> None:
    for flags, env in (([], ONCE), (["--no-push"], ASKED)):
        play(WRONG, FINISH)
        done = stage.necrocode("run", *flags, stage.task(), **env)
        assert done.code == 1, done.err
        assert set(stage.branches()) == {"main"}
        assert stage.runs()[-1].data.get("partial_branch") is None


def test_a_run_that_changed_nothing_pushes_nothing(stage: Stage, play: Play) -> None:
    play(FINISH, FINISH)
    task = stage.task(setup_commands=["echo x > set-up.txt"])
    assert stage.necrocode("run", task, **ASKED).code == 1
    assert stage.only_run.stop_reason == "no_change"
    assert stage.necrocode("run", stage.task(setup_commands=["false"]), **ASKED).code == 1
    assert stage.runs()[-1].stop_reason == "setup_failed"
    assert set(stage.branches()) == {"main"}


def test_a_cancelled_run_pushes_what_there_is(stage: Stage, play: Play) -> None:
    play(EDIT, FINISH)
    process = stage.start_gated("run", stage.task(test_commands=[GATE]), **ASKED)
    run_id = stage.only_run.run_id
    assert stage.necrocode("cancel", run_id).code == 0
    assert stage.finish(process).code == 1
    assert stage.only_run.state == "cancelled"
    assert set(stage.branches()) == {"main", PARTIAL}
    assert "hello, {name}" in git(stage.remote, "show", f"{PARTIAL}:greet.py")
    assert message_of(stage, PARTIAL)[-1] == "Necrocode-Stop-Reason: cancelled"


def test_an_earlier_one_of_the_task_is_replaced_and_somebody_elses_is_not(stage: Stage, play: Play) -> None:
    theirs = stage.push({"theirs.txt": "theirs\n"}, branch=PARTIAL)
    pushed = []
    for text in ("hullo", "halloo"):
        play(calls(("write_file", {"path": "greet.py", "content": f"{text}\n"})), FINISH)
        assert stage.necrocode("run", stage.task(), **ASKED).code == 1
        run = stage.runs()[-1]
        assert run.data["partial_branch"] == f"{PARTIAL}-2"
        assert stage.branches() == {
            "main": stage.branches()["main"],
            PARTIAL: theirs,
            f"{PARTIAL}-2": run.data["partial_commit"],
        }
        pushed.append(run.data["partial_commit"])
    assert git(stage.remote, "rev-parse", f"{PARTIAL}-2^").strip() == stage.branches()["main"]
    assert len(set(pushed)) == 2


def test_work_that_holds_a_credential_is_not_pushed(stage: Stage, play: Play) -> None:
    secret = "sk-of-the-model-0123456789"
    stage.push({"key.txt": f"{secret}\n"})
    play(EDIT, calls(("bash", {"command": "cp key.txt greeting.cfg"})), FINISH, key=secret)
    done = stage.necrocode("run", stage.task(), LLM_API_KEY=secret, **ASKED)
    assert done.code == 1, done.err
    assert stage.only_run.stop_reason == "secret_in_diff"
    assert "partial_work_not_pushed the diff holds the credential" in done.err
    assert set(stage.branches()) == {"main"}


def test_a_remote_that_takes_none_is_a_warning(stage: Stage, play: Play) -> None:
    play(WRONG, FINISH)
    # A branch of this name leaves no room for names below it.
    git(stage.remote, "update-ref", "refs/heads/wip", "main")
    done = stage.necrocode("run", stage.task(), **ASKED)
    assert done.code == 1, done.err
    assert "partial_work_not_pushed" in done.err
    run = stage.only_run
    assert (run.state, run.stop_reason, run.data.get("partial_branch")) == ("failed", "tests_failed", None)
    assert {artifact["type"] for artifact in run.data["artifacts"]} == {"diff", "test", "log"}
    assert stage.event_data("TaskFailed")["partial_branch"] is None
    assert set(stage.branches()) == {"main", "wip"}
