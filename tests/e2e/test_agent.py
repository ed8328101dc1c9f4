"""A command-line agent in place of the tool loop: told the task, adopted after a death, its failure said."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from necrocode.demo.stage import git
from tests.crash import processes
from tests.e2e.stage import BRANCH, Stage

MEND = "sed -i \"s/'hello'/f'hello, {name}'/\" greet.py"
AGENT = f"grep -q 'Greet by name' {{prompt_file}} && echo x >> runs.txt && {MEND} && echo I mended it with {{model}}"


@pytest.fixture(autouse=True)
def no_model(stage: Stage) -> None:
    stage.environment |= {"LLM_API_KEY": "", "NECROCODE_LLM_MODEL": "some-model"}


def at_work(stage: Stage) -> bool:
    """Whether the agent has begun to change files."""
    return any(path.stat().st_size for path in stage.home.glob("repos/*/slots/*/work/runs.txt"))


def run(stage: Stage, agent: str, **env: str) -> int:
    return stage.necrocode("run", stage.task(), NECROCODE_CODER_COMMAND=agent, **env).code


def test_an_agent_does_the_task_and_what_it_says_is_the_summary(stage: Stage) -> None:
    assert run(stage, AGENT) == 0
    assert git(stage.remote, "show", f"{BRANCH}:runs.txt") == "x\n"
    assert "f'hello, {name}'" in git(stage.remote, "show", f"{BRANCH}:greet.py")
    assert stage.only_run.data["summary"] == "I mended it with some-model"
    assert set(git(stage.remote, "ls-tree", "--name-only", BRANCH).split()) == {
        *(".gitignore", "greet.py", "check.sh", "runs.txt")
    }, "no prompt file was left in the slot"


def test_failed_tests_are_told_to_the_agent_in_its_next_attempt(stage: Stage) -> None:
    second = f"if grep -q 'attempt 1' {{prompt_file}}; then {MEND}; else echo y > other.txt; fi"
    assert run(stage, second) == 0
    assert stage.only_run.data["attempt"] == 2


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_an_agent_outlives_its_runner_and_is_adopted(stage: Stage, sandbox: str) -> None:
    stage.environment["NECROCODE_SANDBOX"] = sandbox
    agent = f"echo x >> runs.txt; sleep 3; {MEND}"
    process = stage.start("run", stage.task(), NECROCODE_CODER_COMMAND=agent)
    stage.wait_until(
        lambda: any(path.stat().st_size for path in stage.home.glob("repos/*/slots/*/work/runs.txt")), process
    )
    process.kill()
    process.communicate()
    done = stage.necrocode("resume", "--all")
    assert done.code == 0, done.err
    assert git(stage.remote, "show", f"{BRANCH}:runs.txt") == "x\n", "it ran once"


def test_an_agent_that_was_killed_with_its_runner_begins_anew_over_the_files_as_they_were(stage: Stage) -> None:
    stage.environment["NECROCODE_SANDBOX"] = "off"
    agent = f"echo x >> runs.txt; [ -e {stage.root}/again ] || sleep 300; {MEND}"
    process = stage.start("run", stage.task(), NECROCODE_CODER_COMMAND=agent)
    stage.wait_until(
        lambda: any(path.stat().st_size for path in stage.home.glob("repos/*/slots/*/work/runs.txt")), process
    )
    supervisors, keepers = processes.keepers(stage.home)
    commands = processes.commands([stage.only_run.run_id])
    process.kill()
    process.communicate()
    processes.kill([*supervisors, *keepers, *commands])
    (stage.root / "again").touch()
    done = stage.necrocode("resume", "--all")
    assert done.code == 0, done.err
    assert git(stage.remote, "show", f"{BRANCH}:runs.txt") == "x\n", "what the first one did is undone"


@pytest.mark.parametrize(
    ("agent", "reason", "code"),
    [
        ("echo no idea; exit 3", "agent_failed", 1),
        ("true", "no_change", 1),
        ("nobody-has-this-agent", "agent_failed", 1),
    ],
)
def test_an_agent_that_fails_or_changes_nothing_fails_the_task(
    stage: Stage, agent: str, reason: str, code: int
) -> None:
    assert run(stage, agent) == code
    assert stage.only_run.stop_reason == reason


def test_an_agent_gets_the_variables_that_are_named_and_no_others(stage: Stage) -> None:
    agent = f"env > env.txt; {MEND}"
    env = {"NECROCODE_CODER_PASS_ENV": '["AGENT_KEY"]', "AGENT_KEY": "for-the-agent", "OTHER_KEY": "not-for-the-agent"}
    assert run(stage, agent, **env) == 0
    seen = git(stage.remote, "show", f"{BRANCH}:env.txt")
    assert "AGENT_KEY=for-the-agent" in seen and "OTHER_KEY" not in seen


# --- an agent that speaks the Agent Client Protocol


@pytest.fixture
def speaking(stage: Stage) -> Callable[[str], str]:
    """The command for an agent that behaves in a way; the tools stand on the path, as a user's do. Without a sandbox:
    what is installed from a folder of sources, as here, is not seen in one.
    """
    stage.environment["NECROCODE_SANDBOX"] = "off"
    agent = Path(__file__).with_name("acp_agent.py").read_text(encoding="utf-8")
    stage.push({"acp_agent.py": agent})
    stage.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return lambda way: f"necrocode acp --prompt {{prompt_file}} -- python acp_agent.py {way}"


def test_an_agent_that_speaks_the_protocol_is_adopted_with_its_client(
    stage: Stage, speaking: Callable[[str], str]
) -> None:
    process = stage.start("run", stage.task(), NECROCODE_CODER_COMMAND=speaking("slow"))
    stage.wait_until(lambda: at_work(stage), process)
    process.kill()
    process.communicate()
    done = stage.necrocode("resume", "--all")
    assert done.code == 0, done.err
    assert git(stage.remote, "show", f"{BRANCH}:runs.txt") == "x\n", "it ran once"
    assert "f'hello, {name}'" in git(stage.remote, "show", f"{BRANCH}:greet.py")
    assert stage.only_run.data["summary"] == "[edit greet.py]\nI mended the greeting."


def test_an_agent_that_does_not_get_to_its_end_fails_the_task(stage: Stage, speaking: Callable[[str], str]) -> None:
    done = stage.necrocode("run", stage.task(), NECROCODE_CODER_COMMAND=speaking("die"))
    assert done.code == 1, done.err
    assert "the agent ended by itself, with exit code 9" in done.err
