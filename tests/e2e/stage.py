"""A stage for whole runs: a bare remote, a task file, a scripted model on loopback, and the real command."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from necrocode.commands.folder import runs_with_commands
from necrocode.demo.stage import git, make_remote
from necrocode.embedded.database import open_services
from necrocode.engine import audit
from necrocode.engine.entry import Entry
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord
from necrocode.pool import loans
from necrocode.scripted.server import ScriptedServer
from tests.e2e.commands import Command, Forked

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


BRANCH = "feature/task-greeting-1"
"""What the stage's task is pushed to."""

GATE = "until [ -e gate.log ]; do sleep 0.05; done; sh check.sh"
"""A test command that waits until :meth:`Stage.open_gate`, so that a test can look at a run in the middle."""

PATIENCE = 60.0
"""Seconds to wait for something on a busy machine."""

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
    #: What the command's own words come after.
    prefix: tuple[str, ...] = ()
    #: Namespaces of another process's that each command enters, see :class:`tests.crash.nursery.Birth`.
    namespaces: tuple[str, ...] = ()
    #: Whether each command gets an interpreter of its own, as a user's would.
    afresh: bool = False

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def remote(self) -> Path:
        return self.root / "remote.git"

    def make_remote(self, contents: Mapping[str, str] = CONTENTS) -> Path:
        """The bare remote, with one commit on ``main``."""
        make_remote(self.remote, self.root / "seed", contents, "The first commit")
        # every write of a branch leaves a line there
        git(self.remote, "config", "core.logAllRefUpdates", "always")
        return self.remote

    def push(self, contents: Mapping[str, str], *, branch: str = "main", message: str = "Somebody else's") -> str:
        """Somebody else commits ``contents`` to the remote's ``branch``; returns the commit."""
        seed = self.root / "seed"
        known = self.branches()
        git(seed, "fetch", "--quiet", str(self.remote), branch if branch in known else "main")
        git(seed, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        for name, content in contents.items():
            path = seed / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        git(seed, "add", "--all")
        git(seed, "commit", "--quiet", "--no-gpg-sign", "-m", message)
        git(seed, "push", "--quiet", str(self.remote), f"HEAD:refs/heads/{branch}")
        return git(seed, "rev-parse", "HEAD").strip()

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

    def start(self, *arguments: str | Path, **env: str) -> Command:
        """Start the real command; its output is kept."""
        (self.root / "user").mkdir(exist_ok=True)
        if not (self.prefix or self.afresh):
            return Forked([*map(str, arguments)], self.env(**env), self.root, namespaces=self.namespaces)
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "necrocode", *map(str, arguments)],
            cwd=self.root,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def necrocode(self, *arguments: str | Path, **env: str) -> Finished:
        """Run the real command to its end. It may print a traceback only where it was asked to."""
        return self.finish(self.start(*arguments, **env), debug="--debug" in arguments)

    def finish(self, process: Command, *, timeout: float = 120.0, debug: bool = False) -> Finished:
        """Wait for the end of a command that was started."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"still running after {timeout} s:\n{out}\n{err}") from None
        assert debug or "Traceback" not in out + err, err
        return Finished(process.returncode, out, err)

    # --- looking at a run ---

    def journal(self) -> Journal:
        """The journal, opened for a look; close it."""
        return Journal(self.home / "journal.db")

    def runs(self) -> list[RunRecord]:
        """Every run; none where there is no journal."""
        if not (self.home / "journal.db").exists():
            return []
        with self.journal() as journal:
            return journal.runs()

    @property
    def only_run(self) -> RunRecord:
        """The one run there is."""
        (run,) = self.runs()
        return run

    def entries(self, run_id: str | None = None) -> list[tuple[Entry, dict[str, Any]]]:
        """The entries of a run (the only one) with their whole payloads."""
        with self.journal() as journal:
            wanted = run_id or self.only_run.run_id
            return [(entry, journal.payload(entry)) for entry in journal.entries(wanted)]

    def events(self) -> list[tuple[str, str]]:
        """What the embedded registry was told: task id and type of each event, in order."""
        with (
            contextlib.closing(open_services(self.home)) as services,
            services.read() as connection,
        ):
            rows = connection.exec_driver_sql("SELECT task_id, event_type FROM task_events ORDER BY id").fetchall()
        return [(row[0], row[1]) for row in rows]

    def event_data(self, event_type: str) -> dict[str, Any]:
        """What the one event of that type said."""
        with (
            contextlib.closing(open_services(self.home)) as services,
            services.read() as connection,
        ):
            query = "SELECT data FROM task_events WHERE event_type = ?"
            (row,) = connection.exec_driver_sql(query, (event_type,)).fetchall()
        data: dict[str, Any] = json.loads(row[0])
        return data

    def lent_slots(self) -> dict[str, str]:
        """Run id by slot id of each slot on loan."""
        if not (self.home / "services.db").exists():
            return {}
        with (
            contextlib.closing(open_services(self.home)) as services,
            services.read() as connection,
        ):
            return {slot.slot_id: slot.run_id for slot in loans.all_slots(connection) if slot.run_id is not None}

    # --- stopping a run in the middle ---

    def wait_until(self, condition: Callable[[], bool], process: Command | None = None) -> None:
        """Wait for something to become true; fails if it does not, or if ``process`` ends before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if process is not None and process.poll() is not None:
                raise AssertionError(f"it ended too early: {process.communicate()}")
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.1)

    def start_gated(self, *arguments: str | Path, **env: str) -> Command:
        """Start a run whose test command is :data:`GATE`; returns once it waits there."""
        before = {run.run_id for run in self.runs() if run.state == "testing"}
        process = self.start(*arguments, **env)

        def waits() -> bool:
            found = [run for run in self.runs() if run.state == "testing" and run.run_id not in before]
            return bool(found) and self._begun(found[0].run_id)

        self.wait_until(waits, process)
        return process

    def _begun(self, run_id: str) -> bool:
        last = self.entries(run_id)[-1][0]
        return last.kind == "intent" and last.name == "command.test"

    def open_gate(self, run_id: str | None = None) -> None:
        """Let the run's test command go on."""
        with self.journal() as journal:
            run = journal.run(run_id) if run_id else self.only_run
        (Path(run.data["slot"]["path"]) / "gate.log").touch()

    # --- what must hold in the end ---

    def left_nothing(self) -> None:
        """The journal is whole, and no run that is over or parked holds a slot, a command or a process."""
        runs = {run.run_id: run for run in self.runs()}
        if not runs:
            return
        with self.journal() as journal:
            report = audit.verify(journal)
        assert report.ok, report.problems
        over = {run_id for run_id, run in runs.items() if run.status in ("closed", "parked")}
        assert not over & set(self.lent_slots().values()), "a run that is over holds a slot"
        assert not over & set(runs_with_commands(self.home / "commands")), "a run that is over left commands"
        if over == set(runs):
            assert not processes_of(self.root), "something is still running"

    def branches(self) -> dict[str, str]:
        """The remote's branches and their commits."""
        lines = git(self.remote, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
        return {name: commit for name, _, commit in (line.partition(" ") for line in lines)}

    def branch_updates(self, branch: str) -> int:
        """How often the remote's branch was written; needs ``core.logAllRefUpdates`` in the remote."""
        log = self.remote / "logs" / "refs" / "heads" / branch
        return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0


def script(*answers: Any, **more: Any) -> dict[str, Any]:
    """A script for :class:`ScriptedServer`: one answer after the other."""
    return {"model": "scripted", "answers": list(answers), **more}


def processes_of(root: Path) -> list[str]:
    """Command lines of the processes that name ``root`` in their arguments or environment, or work below it."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            cwd = (process / "cwd").readlink()
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            ended = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not ended and (cwd.is_relative_to(root) or os.fsencode(f"{root}/") in said):
                found.append(f"{process.name}: {(process / 'cmdline').read_bytes().decode(errors='replace')}")
    return found


def conversation_of(task_id: str, *answers: Any) -> dict[str, Any]:
    """A conversation for the task whose title holds ``Task <task_id>.``."""
    return {"when": f"Task {task_id}.", "answers": list(answers)}
