"""A stage for whole runs: a bare remote, a task file, a scripted model on loopback, and the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from necrocode.demo.stage import git, make_remote
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord
from necrocode.scripted.server import ScriptedServer

KEY = "key-of-the-scripted-model"

CONTENTS: Mapping[str, str] = {
    ".gitignore": "__pycache__/\n*.log\n",
    "greet.py": "def greet(name):\n    return 'hello'\n",
    "check.sh": "grep -q 'hello, ' greet.py\n",
}

Call = tuple[str, Mapping[str, Any]]


def calls(*made: Call, text: str = "") -> dict[str, Any]:
    """One answer of the model that calls tools."""
    tools = [{"name": name, "arguments": dict(arguments)} for name, arguments in made]
    return {"text": text, "tool_calls": tools, "usage": {"prompt_tokens": 1000, "completion_tokens": 20}}


EDIT = calls(("edit_file", {"path": "greet.py", "old_text": "'hello'", "new_text": "f'hello, {name}'"}))
FINISH = calls(("finish", {"summary": "It greets by name."}))
SOLVE = [EDIT, FINISH]


@dataclass
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed on stdout, as JSON."""
        return json.loads(self.out)


@dataclass
class Stage:
    """A folder with a home, a remote and a task; the model's server is given by whoever starts it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def remote(self) -> Path:
        return self.root / "remote.git"

    def make_remote(self, contents: Mapping[str, str] = CONTENTS) -> Path:
        """The bare remote, with one commit on ``main``."""
        make_remote(self.remote, self.root / "seed", contents, "The first commit")
        return self.remote

    def task(self, name: str = "task.json", **fields: Any) -> Path:
        """A task file."""
        task = {
            "task_id": "1",
            "spec_name": "greeting",
            "title": "Greet by name",
            "description": "greet() should say hello to the one it is given.",
            "repo_url": str(self.remote),
            "test_commands": ["sh check.sh"],
            **fields,
        }
        path = self.root / name
        path.write_text(json.dumps({key: value for key, value in task.items() if value is not None}), encoding="utf-8")
        return path

    def use(self, server: ScriptedServer) -> None:
        """Let the runner ask this model."""
        self.environment["NECROCODE_LLM_ENDPOINT"] = server.url

    def env(self, **more: str) -> dict[str, str]:
        """The environment of the command: nothing of the machine's own configuration."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.root / "user"),
            "NECROCODE_HOME": str(self.home),
            "NECROCODE_RETRY_INITIAL_SECONDS": "0.05",
            "LLM_API_KEY": KEY,
            **self.environment,
            **more,
        }

    def start(self, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
        """Start the real command; its output is piped."""
        (self.root / "user").mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "necrocode", *map(str, arguments)],
            cwd=self.root,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def necrocode(self, *arguments: str | Path, timeout: float = 120.0, **env: str) -> Finished:
        """Run the real command to its end."""
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=timeout)
        return Finished(process.returncode, out, err)

    def journal(self) -> Journal:
        """The journal, opened for a look; close it."""
        return Journal(self.home / "journal.db")

    def runs(self) -> list[RunRecord]:
        """Every run."""
        with self.journal() as journal:
            return journal.runs()

    def branches(self) -> dict[str, str]:
        """The remote's branches and their commits."""
        lines = git(self.remote, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
        return dict(line.split(" ", 1) for line in lines)  # type: ignore[misc]

    def branch_updates(self, branch: str) -> int:
        """How often the remote's branch was written; needs ``core.logAllRefUpdates`` in the remote."""
        log = self.remote / "logs" / "refs" / "heads" / branch
        return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0


def script(*answers: Any, **more: Any) -> dict[str, Any]:
    """A script for :class:`ScriptedServer`: one answer after the other."""
    return {"model": "scripted", "answers": list(answers), **more}


def sequence(values: Sequence[Any]) -> str:
    """For messages."""
    return " ".join(map(str, values))
