"""The demo's stage: a repository with a failing test, a bare remote, a task file, a model that plays a recording."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from necrocode.engine.errors import EnvironmentFault

RECORDED_KEY = "key-of-the-recorded-model"
_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Stage:
    """The folder in which everything happens."""

    root: Path
    #: What the runner's processes get as their environment.
    environment: Mapping[str, str]
    #: Whether the model's answers are recorded.
    recorded: bool

    @property
    def home(self) -> Path:
        """The runner's home."""
        return self.root / "home"

    @property
    def remote(self) -> Path:
        """The bare repository that is cloned from and pushed to."""
        return self.root / "remote.git"

    @property
    def task(self) -> Path:
        """The task file."""
        return self.root / "task.json"

    @property
    def requests(self) -> Path:
        """One JSON line for each request that the recorded model got."""
        return self.root / "model-requests.jsonl"

    def necrocode(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the real command, its output going to ours."""
        command = [sys.executable, "-m", "necrocode", *arguments]
        return subprocess.Popen(command, cwd=self.root, env=dict(self.environment))


@contextmanager
def staged(root: Path, *, live: bool) -> Iterator[Stage]:
    """Set everything up below ``root``; the recorded model's server ends with the context."""
    story = json.loads(files("necrocode.demo").joinpath("repository.json").read_text(encoding="utf-8"))
    environment = {name: value for name, value in os.environ.items() if live or not name.startswith("NECROCODE_")}
    environment["NECROCODE_HOME"] = str(root / "home")
    stage = Stage(root, environment, recorded=not live)
    make_remote(stage.remote, root / "seed", story["files"], story["commit_message"])
    task = {**story["task"], "repo_url": str(stage.remote)}
    stage.task.write_text(json.dumps(task, indent=2) + "\n", encoding="utf-8")
    if live:
        yield stage
        return
    with _recorded_model(stage) as url:
        environment |= {
            "NECROCODE_LLM_ENDPOINT": url,
            "NECROCODE_LLM_MODEL": "recorded-demo",
            "LLM_API_KEY": RECORDED_KEY,
        }
        yield Stage(root, environment, recorded=True)


def make_remote(remote: Path, seed: Path, contents: Mapping[str, str], message: str) -> None:
    """A bare repository at ``remote`` with one commit of ``contents`` on its default branch ``main``."""
    seed.mkdir(parents=True)
    for name, content in contents.items():
        path = seed / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    git(seed, "init", "--quiet", "--initial-branch=main")
    git(seed, "add", "--all")
    git(seed, "commit", "--quiet", "--no-gpg-sign", "-m", message)
    git(seed, "clone", "--quiet", "--bare", str(seed), str(remote))


def git(folder: Path, *arguments: str) -> str:
    """Run git in ``folder``; returns what it printed. Raises :class:`EnvironmentFault` if it fails."""
    identity = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (("NAME", "necrocode demo"), ("EMAIL", "demo@localhost"))
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**kept, **identity, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EnvironmentFault(f"git {arguments[0]} failed: {done.stderr.strip()}", stop_reason="git")
    return done.stdout


@contextmanager
def _recorded_model(stage: Stage) -> Iterator[str]:
    """The server in a process of its own, so that it outlives the runner that is killed."""
    script = files("necrocode.demo").joinpath("conversation.json")
    port_file = stage.root / "model-port"
    command: list[Any] = [sys.executable, "-m", "necrocode.scripted", str(script)]
    command += ["--port-file", str(port_file), "--log", str(stage.requests)]
    server = subprocess.Popen(command, cwd=stage.root, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not port_file.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise EnvironmentFault("the recorded model's server did not start")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text(encoding='utf-8')}/v1"
    finally:
        server.terminate()
        server.wait()
