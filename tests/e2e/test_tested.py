"""Whole runs, told apart by how their work is tested."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, CONTENTS, FINISH, SOLVE, Stage, calls

PYTEST = {
    "pytest.ini": "[pytest]\n",
    "tests/test_greet.py": (
        "import sys\nsys.path.insert(0, '.')\nimport greet\n\n"
        "def test_name():\n    assert greet.greet('you') == 'hello, you'\n\n"
        "def test_old():\n    assert False, 'it never worked'\n"
    ),
}
#: Where pytest is, whoever runs the tests.
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"
#: Other packages' plugins take longer to load than the tests.
QUICK = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
WRONG = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return 'hullo'\n"}))
RIGHT = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return f'hello, {name}'\n"}))

#: Another test runner, which writes such a file by itself.
RUNNER = """\
mkdir -p out && grep -q 'hello, ' greet.py && passed=1
[ "$passed" ] && name='' || name='<testcase name="name"><failure message="it greets nobody"/></testcase>'
echo "<testsuite><testcase name='old'><error message='it never worked'/></testcase>$name</testsuite>" > out/junit.xml
exit 1
"""


def test_pytest_is_detected_asked_after_each_test_and_the_model_told_of_the_failing_ones(
    stage: Stage, play: Play
) -> None:
    stage.push(PYTEST)
    answers = play(WRONG, FINISH, RIGHT, FINISH)
    task = stage.task(test_commands=None, env=QUICK)
    done = stage.necrocode("run", "--json", task, PATH=PATH, NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS="2")
    run = done.json["run"]
    assert (done.code, run["stop_reason"], run["tests_from"]) == (1, "tests_failed", "detected: pytest")
    (test,) = run["tests"]
    assert test["counts"] == {"tests": 2, "failures": 1, "errors": 0, "skipped": 0}
    assert test["failing"] == ["tests.test_greet::test_old"]
    told = [payload["result"]["user"] for entry, payload in stage.entries() if entry.name == "coder.brief"
            and entry.kind == "outcome"]  # fmt: skip
    assert "2 of 2 tests failed:\n- tests.test_greet::test_name: AssertionError: assert 'hullo'" in told[1]
    assert len(answers.answered) == 4
    shown = stage.necrocode("show", run["id"]).out
    assert "1 of 2 tests failed" in shown and "failed: tests.test_greet::test_old" in shown
    assert not list(stage.root.rglob(".necrocode-junit*"))


def test_a_users_playbook_with_a_flaky_step_and_tests_that_failed_before(stage: Stage, play: Play) -> None:
    stage.push({"run.sh": RUNNER, ".gitignore": "*.log\n"})
    play(*SOLVE)
    steps = [
        {"name": "flaky", "run": "test -e once.log || { touch once.log; false; }", "retries": 2},
        {"name": "absent", "run": "false", "when": "exists('package.json')"},
        {"name": "tests", "run": "sh run.sh", "junit": "out/*.xml",
         "when": "attempt == 0 or changed('greet.py')", "timeout_seconds": 60},
    ]  # fmt: skip
    (stage.root / "play.yaml").write_text(json.dumps({"name": "mine", "steps": steps}))
    task = stage.task(test_commands=None, playbook_path="./play.yaml")
    done = stage.necrocode("run", "--json", task, NECROCODE_BASELINE_TESTS="forgive")
    assert done.code == 0, done.err
    # It is flaky no more: it left its mark when it was run before the change.
    verdicts = [(test["name"], test.get("verdict")) for test in done.json["run"]["tests"]]
    assert verdicts == [("flaky", None), ("absent", "skipped"), ("tests", "forgiven")]
    assert done.json["run"]["tests"][2]["failed_before"] == ["old"]
    assert done.json["run"]["tests_from"] == "playbook: mine (baseline: forgive)"
    assert stage.event_data("TaskCompleted")["tests"]["commands"] == {"forgiven": 1, "passed": 1, "skipped": 1}
    files = git(stage.remote, "ls-tree", "-r", "--name-only", BRANCH).split()
    assert sorted(files) == sorted([*CONTENTS, "run.sh"]), "what tests leave is not committed"
    assert "forgiven: tests: sh run.sh" in stage.necrocode("show", done.json["run"]["id"]).out


def test_a_detected_command_that_nothing_can_run_is_a_warning(stage: Stage, play: Play) -> None:
    stage.push({"Makefile": "test:\n\tno-such-tool-anywhere\n"})
    play(*SOLVE)
    done = stage.necrocode("run", "--json", stage.task(test_commands=None))
    assert done.code == 0, done.err
    assert done.json["run"]["tests"][0]["verdict"] == "not_run"
    assert [entry for entry in done.json["entries"] if (entry["kind"], entry["name"]) == ("warning", "tests_not_run")]


def test_a_users_playbook_that_cannot_be_used_is_bad_input(stage: Stage) -> None:
    (stage.root / "play.yaml").write_text("steps:\n- {name: a, run: b, when: \"__import__('os')\"}\n- {name: a}\n")
    done = stage.necrocode("run", stage.task(playbook_path="./play.yaml"))
    assert done.code == 2
    assert "playbook_path: steps[0].when: only exists" in done.err
    assert "playbook_path: steps[1].run: is required" in done.err
    assert stage.runs() == []


def test_a_playbook_that_is_a_link_out_of_the_repository_fails_the_task(stage: Stage, play: Play) -> None:
    (stage.root / "seed" / "play.yaml").symlink_to("/etc/passwd")
    stage.push({"more.txt": ""})
    play(*SOLVE)
    done = stage.necrocode("run", "--json", stage.task(playbook_path="play.yaml"))
    assert (done.code, done.json["run"]["stop_reason"]) == (1, "invalid_playbook")
    assert "is a link" in done.json["run"]["error"]
    assert "root:" not in done.out
