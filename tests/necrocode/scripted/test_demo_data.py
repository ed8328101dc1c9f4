"""The demo's recorded conversation, played over HTTP against the demo's repository: its tests fail, then they pass."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import necrocode.demo
from necrocode.llm import OpenAIChat
from necrocode.scripted import ScriptedServer
from necrocode.states.task import TaskContext
from tests.necrocode.coder.conftest import MakeWorld, make_world

__all__ = ["make_world"]

DATA = Path(necrocode.demo.__path__[0])


@pytest.mark.skipif(shutil.which("python3") is None, reason="the recorded commands call python3")
def test_the_recorded_conversation_mends_the_demos_repository(make_world: MakeWorld) -> None:
    repository: dict[str, Any] = json.loads((DATA / "repository.json").read_text())
    world = make_world([])
    for file in world.slot.iterdir():
        file.unlink()
    for name, content in repository["files"].items():
        (world.slot / name).parent.mkdir(parents=True, exist_ok=True)
        (world.slot / name).write_text(content)
    world.task = TaskContext(**repository["task"], repo_url="demo")

    def tests_pass() -> bool:
        (command,) = world.task.test_commands
        return subprocess.run(command, shell=True, cwd=world.slot, capture_output=True).returncode == 0

    assert not tests_pass()
    with ScriptedServer(DATA / "conversation.json") as server:
        world.llm = OpenAIChat(model="m", api_key=lambda: "k", endpoint=server.url)
        run = world.drive()
        world.llm.close()
        assert server.answered == [0, 1, 2, 3, 4]
    assert run.state == "completed"
    assert tests_pass()
    bash = [result for name, result in world.outcomes if name == "tool.bash"]
    assert [result["exit_code"] == 0 for result in bash] == [False, True]
    assert bash[1]["content"].endswith("started 1 time(s)")
    assert bash[1]["duration_seconds"] >= 3, "there is time to be killed in"
