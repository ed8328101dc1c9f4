"""Set-up and test commands that are missing, hang, shout, leave things behind or fail; what the model runs itself."""

from __future__ import annotations

import json
import time
import zipfile
from typing import Any
from urllib.parse import unquote, urlsplit

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, CONTENTS, EDIT, FINISH, SOLVE, Stage, calls

ONE_ATTEMPT = {"NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS": "1"}


def test_a_test_command_that_does_not_exist_fails_the_task_without_another_attempt(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    done = stage.necrocode("run", stage.task(test_commands=["no-such-test-runner --all"]))
    assert done.code == 1, done.err
    assert stage.only_run.stop_reason == "test_command_not_found"
    assert "no-such-test-runner" in done.err
    assert len(model.requests) == 2


def test_a_test_command_that_hangs_is_ended_with_all_it_started(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    began = time.monotonic()
    hanging = "sleep 317 & setsid sleep 317 & sleep 317"
    done = stage.necrocode(
        "run", stage.task(test_commands=[hanging]), **ONE_ATTEMPT, NECROCODE_COMMAND_TIMEOUT_SECONDS="1"
    )
    assert done.code == 1, done.err
    assert time.monotonic() - began < 60
    assert stage.only_run.stop_reason == "tests_failed"
    (test,) = stage.only_run.data["tests"]
    assert (test["status"], test["exit_code"]) == ("timeout", None)
    assert "timeout" in done.err


def test_output_without_end_daemons_and_reading_from_stdin_do_no_harm(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    commands = [
        "head -c 100000000 /dev/zero | tr '\\0' x; echo the-end; sh check.sh",
        "setsid sh -c 'sleep 317; echo late >> late.txt' > /dev/null 2>&1 & sh check.sh",
        "cat && sh check.sh",
    ]
    done = stage.necrocode("run", "--json", stage.task(test_commands=commands))
    assert done.code == 0, done.err
    results = [
        payload["result"]
        for entry, payload in stage.entries()
        if entry.name == "command.test" and entry.kind == "outcome"
    ]
    assert [result["status"] for result in results] == ["exited"] * 3
    assert results[0]["omitted_bytes"] > 99_000_000
    assert "the-end" in results[0]["output"]
    assert len(results[0]["output"]) < 100_000
    assert sum(path.stat().st_size for path in stage.home.glob("journal.db*")) < 8_000_000
    assert len(done.out) < 1_000_000
    (uri,) = (artifact["uri"] for artifact in done.json["run"]["artifacts"] if artifact["type"] == "output")
    with zipfile.ZipFile(unquote(urlsplit(uri).path)) as archive:
        (kept,) = archive.infolist()
        assert kept.filename.startswith("001-command.test-head--c-100000000")
        assert kept.file_size == 16 * 1024 * 1024, "what is too long even for that is kept from its beginning"


def test_failed_tests_go_back_to_the_coder_with_their_output(stage: Stage, play: Play) -> None:
    wrong = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return name\n"}))
    right = calls(("write_file", {"path": "greet.py", "content": "def greet(name):\n    return 'hello, ' + name\n"}))
    model = play(wrong, FINISH, right, FINISH)
    done = stage.necrocode("run", "--json", stage.task(test_commands=["sh check.sh || { echo not-so >&2; exit 4; }"]))
    assert done.code == 0, done.err
    feedback = model.requests[2].body["messages"][-1]["content"]
    assert "not-so" in feedback and "exit code 4" in feedback
    assert done.json["run"]["attempts"] == 2
    assert "hello, " in git(stage.remote, "show", f"{BRANCH}:greet.py")


def test_tests_that_fail_to_the_end_fail_the_task_and_keep_the_work(stage: Stage, play: Play) -> None:
    edits = [calls(("write_file", {"path": "try.txt", "content": f"{n}\n"})) for n in range(2)]
    play(edits[0], FINISH, edits[1], FINISH)
    done = stage.necrocode("run", stage.task(test_commands=["false"]), NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS="2")
    assert done.code == 1, done.err
    run = stage.only_run
    assert (run.state, run.stop_reason) == ("failed", "tests_failed")
    assert "'false'" in str(run.data["error"])
    assert set(stage.branches()) == {"main"}
    kept = {artifact["type"]: artifact["uri"].removeprefix("file://") for artifact in run.data["artifacts"]}
    assert set(kept) == {"diff", "test", "log"}
    clone = stage.root / "clone"
    git(stage.root, "clone", "--quiet", str(stage.remote), str(clone))
    git(clone, "apply", kept["diff"])
    assert (clone / "try.txt").read_text() == "1\n"
    with open(kept["test"], encoding="utf-8") as file:  # noqa: PTH123
        tests = json.load(file)["tests"]
    assert [test["exit_code"] for test in tests] == [1, 1]


def test_fail_fast_decides_whether_later_tests_run(stage: Stage, play: Play) -> None:
    play(EDIT, FINISH)
    commands = ["false", "sh check.sh"]
    stage.necrocode("run", stage.task(test_commands=commands), **ONE_ATTEMPT)
    stage.necrocode("run", stage.task(test_commands=commands, fail_fast=False), **ONE_ATTEMPT)
    ran = [[test["passed"] for test in run.data["tests"]] for run in stage.runs()]
    assert ran == [[False], [False, True]]


def test_a_set_up_command_that_fails_is_a_task_error_with_its_output(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    done = stage.necrocode("run", stage.task(setup_commands=["true", "echo no-compiler-here; exit 3"]))
    assert done.code == 1, done.err
    assert stage.only_run.stop_reason == "setup_failed"
    assert "no-compiler-here" in done.err
    assert model.requests == []


def test_env_and_pass_env_reach_commands_and_credentials_do_not(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    command = 'test "$GIVEN" = here && test "$PASSED" = over && test -z "$LLM_API_KEY$SAME_KEY$NOT_PASSED"'
    task = stage.task(
        env={"GIVEN": "here"}, pass_env=["PASSED", "LLM_API_KEY", "SAME_KEY"], test_commands=[command, "sh check.sh"]
    )
    key = stage.env()["LLM_API_KEY"]
    done = stage.necrocode("run", task, PASSED="over", NOT_PASSED="x", SAME_KEY=key)
    assert done.code == 0, done.err


def test_what_tests_leave_and_what_the_model_commits_itself_becomes_one_commit_of_the_coders_files(
    stage: Stage, play: Play
) -> None:
    own = "git add -A && git -c user.name=m -c user.email=m@localhost commit -qm 'mine' && git log --oneline | wc -l"
    model = play(EDIT, calls(("bash", {"command": own})), FINISH)
    messy = "echo mess > mess.txt; echo changed >> check.sh; true"
    # a sandboxed command cannot write the slot's .git at all
    done = stage.necrocode("run", stage.task(test_commands=["sh check.sh", messy]), NECROCODE_SANDBOX="off")
    assert done.code == 0, done.err
    told: dict[str, Any] = model.requests[2].body["messages"][-1]
    assert "exit code 0" in told["content"]
    assert git(stage.remote, "rev-list", "--count", f"main..{BRANCH}").strip() == "1"
    assert git(stage.remote, "diff", "--name-only", "main", BRANCH).split() == ["greet.py"]
    assert sorted(git(stage.remote, "ls-tree", "--name-only", BRANCH).split()) == sorted(CONTENTS)
    subject, *rest = git(stage.remote, "log", "-1", "--format=%B", BRANCH).splitlines()
    assert subject == "feat(task-1): Greet by name"
    assert f"Necrocode-Run: {stage.only_run.run_id}" in rest
