"""How work is tested: steps and their conditions, reruns, what failed before, what nobody can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crash.simulation.scenarios import Scenario
from tests.states.simulated import simulated

RIGHT = [("write_file", {"path": "greet.py", "content": "print('hello')\n"})]
WRONG = [("write_file", {"path": "greet.py", "content": "print('hi')\n"})]
#: A replay builds the whole configuration of them.
SETTINGS = {"test_reports": True, "retry_initial_seconds": 1, "slot_timeout_seconds": 1}
FINISH = [("finish", {"summary": "greets"})]
TEST = "check greet.py hello"
#: Fails until it has been run so often.
SECOND = "check tries.txt once && append tries.txt once"


def step(name: str, run: str = TEST, **more: Any) -> dict[str, Any]:
    return {"name": name, "run": run, **more}


def play(*steps: dict[str, Any], answers: Any = (RIGHT, FINISH), task: Any = None, **settings: Any) -> Scenario:
    """A task that is tested by these steps."""
    book = {"playbook": {"steps": list(steps)}} if steps else {}
    return Scenario("x", answers, task={**book, **(task or {})}, settings={**SETTINGS, **settings})


# --- steps and conditions ---


def test_steps_run_in_order_and_each_is_an_effect(tmp_path: Path) -> None:
    with simulated(play(step("one"), step("two")), tmp_path) as ran:
        assert ran.verdicts == [("one", "passed"), ("two", "passed")]
        assert ran.effects("command.test") == [f"one: {TEST}", f"two: {TEST}"]
        assert ran.reported == {"commands": {"passed": 2}}


def test_a_step_whose_condition_does_not_hold_is_skipped_with_the_reason(tmp_path: Path) -> None:
    scenario = play(
        step("never", when="exists('no.py')"),
        step("always", when="exists('greet.py') and changed('*.py') and attempt == 1"),
        step("other", when="changed('*.js') or env.LEVEL != '3'"),
        step("after", when="steps.never.skipped and steps.always.passed and steps.other.exit_code == -1"),
        task={"env": {"LEVEL": "3"}},
    )
    with simulated(scenario, tmp_path) as ran:
        assert ran.verdicts == [("never", "skipped"), ("always", "passed"), ("other", "skipped"), ("after", "passed")]
        assert ran.tests[0]["reason"] == "its condition does not hold: exists('no.py')"
        assert ran.effects("step.skipped") == ["never", "other"]
        assert ran.run.state == "completed"


def test_what_exists_is_what_was_there_before_the_coder_worked(tmp_path: Path) -> None:
    answers = ([("write_file", {"path": "new.py", "content": "x"}), *RIGHT], FINISH)
    with simulated(play(step("new", when="exists('new.py')"), step("old"), answers=answers), tmp_path) as ran:
        assert ran.verdicts == [("new", "skipped"), ("old", "passed")]


def test_a_condition_that_turns_out_to_make_no_sense_fails_the_task(tmp_path: Path) -> None:
    with simulated(play(step("odd", when="attempt < env.LEVEL")), tmp_path) as ran:
        assert (ran.run.state, ran.run.stop_reason) == ("failed", "invalid_playbook")
        assert "step 'odd'" in ran.run.data["error"]


def test_after_a_failing_step_the_others_are_left_out_unless_it_says_otherwise(tmp_path: Path) -> None:
    answers = (WRONG, FINISH, WRONG, FINISH, WRONG, FINISH)
    with simulated(play(step("a", fail_fast=False), step("b"), step("c"), answers=answers), tmp_path) as ran:
        assert ran.run.stop_reason == "tests_failed"
        assert ran.verdicts == [("a", "failed"), ("b", "failed"), ("c", "skipped")]
        assert ran.tests[2]["reason"] == "an earlier step failed: b"


def test_a_step_that_may_fail_keeps_no_task_from_being_completed_and_is_seen(tmp_path: Path) -> None:
    with simulated(play(step("loose", "check greet.py never", allow_failure=True), step("b")), tmp_path) as ran:
        assert ran.run.state == "completed"
        assert ran.verdicts == [("loose", "allowed"), ("b", "passed")]
        assert ran.warnings("failure_allowed")
        assert ran.reported["commands"] == {"allowed": 1, "passed": 1}


def test_the_tasks_own_commands_come_after_the_playbooks_steps(tmp_path: Path) -> None:
    with simulated(play(step("a"), task={"test_commands": ["check greet.py print"]}), tmp_path) as ran:
        assert ran.verdicts == [("a", "passed"), ("check greet.py print", "passed")]


# --- reruns ---


def test_a_step_that_passes_when_it_is_run_again_is_flaky_and_everybody_is_told(tmp_path: Path) -> None:
    with simulated(play(step("a", SECOND, retries=3)), tmp_path) as ran:
        assert ran.run.state == "completed"
        (summary,) = ran.tests
        assert (summary["passed"], summary["verdict"], summary["runs"]) == (True, "flaky", 2)
        assert summary["flaky_tests"] == ["no once in tries.txt"]
        assert ran.effects("command.test") == [f"a: {SECOND}", f"a: {SECOND} (run 2)"]
        (warned,) = ran.warnings("flaky_tests")
        assert warned["runs"] == 2 and "no once in tries.txt" in warned["message"]
        assert ran.reported["flaky"] == [{"command": SECOND, "runs": 2, "tests": ["no once in tries.txt"]}]
        assert [run["run"] for run in ran.artifact["tests"]] == [1, 2]
        assert ran.artifact["verdicts"] == ran.tests


def test_the_setting_reruns_the_tasks_commands_too(tmp_path: Path) -> None:
    with simulated(play(task={"test_commands": [SECOND]}, test_reruns=1), tmp_path) as ran:
        assert ran.verdicts == [(SECOND, "flaky")]


def test_a_step_that_goes_on_failing_fails_after_its_last_run(tmp_path: Path) -> None:
    answers = (WRONG, FINISH, RIGHT, FINISH)
    with simulated(play(step("a", retries=2), answers=answers), tmp_path) as ran:
        assert ran.run.data["attempt"] == 2
        assert ran.verdicts == [("a", "passed")]
        assert len(ran.effects("command.test")) == 3 + 1


# --- what failed before the change ---

BOTH = f"{TEST} && check notes.txt never"


def test_a_test_that_failed_before_is_told_apart_from_one_that_the_change_broke(tmp_path: Path) -> None:
    broken = f"check notes.txt never && check greet.py hullo"  # noqa: F541
    answers = (RIGHT, FINISH) * 3
    with simulated(play(task={"test_commands": [broken]}, answers=answers, baseline_tests="report"), tmp_path) as ran:
        assert ran.run.stop_reason == "tests_failed", "to tell apart is not to forgive"
        (summary,) = ran.tests
        assert summary["failed_before"] == ["no never in notes.txt"]
        assert summary["broken"] == ["no hullo in greet.py"]
        assert ran.effects("command.baseline") == [broken]
        assert [each["exit_code"] for each in ran.artifact["before_the_change"]] == [1]
        assert ran.warnings("failed_before")


def test_forgiven_is_what_fails_by_tests_that_failed_before_alone(tmp_path: Path) -> None:
    with simulated(play(task={"test_commands": [BOTH]}, baseline_tests="forgive", test_reruns=2), tmp_path) as ran:
        assert ran.run.state == "completed"
        (summary,) = ran.tests
        assert (summary["passed"], summary["verdict"], summary["broken"]) == (False, "forgiven", [])
        assert len(ran.effects("command.test")) == 1, "nothing to run again"
        assert ran.warnings("failures_forgiven")
        assert ran.reported["forgiven"] == [{"command": BOTH, "runs": 1, "tests": ["no never in notes.txt"]}]


def test_what_the_change_broke_is_never_forgiven(tmp_path: Path) -> None:
    scenario = play(
        task={"test_commands": ["check greet.py hullo && check notes.txt never"]},
        answers=(RIGHT, FINISH) * 3,
        baseline_tests="forgive",
    )
    with simulated(scenario, tmp_path) as ran:
        assert (ran.run.stop_reason, ran.verdicts[0][1]) == ("tests_failed", "failed")


def test_a_command_that_tells_of_no_single_tests_is_never_forgiven(tmp_path: Path) -> None:
    scenario = play(
        task={"test_commands": [BOTH]}, answers=(RIGHT, FINISH) * 3, baseline_tests="forgive", test_reports=False
    )
    with simulated(scenario, tmp_path) as ran:
        assert ran.run.stop_reason == "tests_failed"


def test_what_the_tests_leave_before_the_change_is_put_back(tmp_path: Path) -> None:
    scenario = play(task={"test_commands": ["append junk.txt x"]}, baseline_tests="report")
    with simulated(scenario, tmp_path) as ran:
        assert set(ran.world.trees[ran.run.data["commit_tree"]]) == set(ran.world.repository)


# --- where the steps are from ---

BOOK = "steps:\n- {name: mine, run: check greet.py hello}\n"


def test_a_playbook_in_the_repository_is_read_from_the_base_whatever_the_coder_makes_of_it(tmp_path: Path) -> None:
    weaken = [
        ("write_file", {"path": "ci/play.yaml", "content": "steps:\n- {name: none, run: check greet.py print}\n"})
    ]
    answers = ([*WRONG, *weaken], FINISH, RIGHT, FINISH)
    with simulated(play(task={"playbook_path": "ci/play.yaml"}, answers=answers), tmp_path, ci__play_yaml=BOOK) as ran:
        assert ran.run.data["attempt"] == 2
        assert ran.verdicts == [("mine", "passed")]
        assert ran.run.data["plan"]["source"] == "playbook"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("steps: [", "is not YAML"),
        ("steps: 3", "steps"),
        ("steps:\n- {name: a, run: b, whn: c}\n", "steps[0].whn"),
        ("x" * 300_000, "larger than"),
    ],
)
def test_a_playbook_in_the_repository_that_cannot_be_used_fails_the_task(
    content: str | None, words: str, tmp_path: Path
) -> None:
    files = {} if content is None else {"play_yaml": content}
    with simulated(play(task={"playbook_path": "play.yaml"}), tmp_path, **files) as ran:
        assert (ran.run.state, ran.run.stop_reason) == ("failed", "invalid_playbook")
        assert words in ran.run.data["error"]
        assert not ran.world.asked, "the model was not asked"


def test_without_commands_a_repository_is_tested_by_what_it_looks_like(tmp_path: Path) -> None:
    with simulated(play(detect_tests=True), tmp_path, Makefile="test:\n\ttrue\n") as ran:
        assert ran.run.data["plan"]["source"] == "detected"
        assert ran.verdicts == [("test", "passed"), ("check", "skipped")]
        assert not ran.warnings("no_tests")


@pytest.mark.parametrize("settings", [{"detect_tests": False}, {}])
def test_nothing_is_detected_where_that_is_switched_off(settings: dict[str, Any], tmp_path: Path) -> None:
    with simulated(play(**settings), tmp_path, Makefile="test:\n\ttrue\n") as ran:
        assert ran.tests == [] and ran.warnings("no_tests")


def test_a_task_with_commands_is_tested_by_them_alone(tmp_path: Path) -> None:
    scenario = play(task={"test_commands": [TEST]}, detect_tests=True)
    with simulated(scenario, tmp_path, Makefile="test:\n\ttrue\n") as ran:
        assert ran.verdicts == [(TEST, "passed")]
