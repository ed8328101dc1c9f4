"""The demo's course: run, kill, resume, and look at what there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from necrocode import exits
from necrocode.demo.stage import Stage, git, staged
from necrocode.engine.errors import EnvironmentFault

if TYPE_CHECKING:
    from necrocode.engine.entry import Entry
    from necrocode.engine.journal import Journal

_PATIENCE_SECONDS = 90.0
#: How long the command that is to be interrupted has been running when the runner is killed.
_INTO_THE_COMMAND_SECONDS = 1.0


def perform(*, live: bool, keep: bool, say: Callable[[str], None]) -> int:
    """Play the demo in a temporary folder; returns the exit code. ``keep`` leaves the folder for a closer look."""
    root = Path(tempfile.mkdtemp(prefix="necrocode-demo-"))
    try:
        with staged(root, live=live) as stage:
            return _play(stage, say)
    finally:
        if keep:
            say(f"everything is still in {root}; for example: necrocode runs --home {root / 'home'}")
        else:
            _remove(root)


def _play(stage: Stage, say: Callable[[str], None]) -> int:
    if stage.recorded:
        say("The model's answers in this demo are RECORDED: a server on loopback plays them. Everything else is real.")
    say(f"\n1. necrocode run task.json   (a repository with a failing test, its remote: {stage.remote})\n")
    runner = stage.necrocode("run", str(stage.task))
    if not _wait_for_command(stage, runner):
        raise EnvironmentFault(f"the run ended before it could be killed, with exit code {runner.wait()}")
    time.sleep(_INTO_THE_COMMAND_SECONDS)
    say(f"\n2. kill -9 {runner.pid}   (in the middle of a command that the model started)\n")
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    say("3. necrocode resume --all\n")
    code = stage.necrocode("resume", "--all").wait()
    if code != exits.COMPLETED:
        say(f"\nthe resumed run ended with exit code {code}")
        return code
    say("\n4. What there is now:\n")
    return _inspect(stage, say)


def _wait_for_command(stage: Stage, runner: subprocess.Popen[bytes]) -> bool:
    """Wait until the run is inside a command after its first edit (live: any command); False if it ended before."""
    from necrocode.engine.errors import JournalError
    from necrocode.engine.journal import Journal

    journal_file = stage.home / "journal.db"
    deadline = time.monotonic() + _PATIENCE_SECONDS * (1 if stage.recorded else 10)
    while runner.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        if not journal_file.exists():
            continue
        try:
            with Journal(journal_file) as journal:
                if _inside_command(journal, after_edit=stage.recorded):
                    return True
        except JournalError:
            # It is being made this very moment.
            continue
    return False


def _inside_command(journal: Journal, *, after_edit: bool) -> bool:
    for run in journal.runs("live"):
        entries = list(journal.entries(run.run_id))
        edited = any(entry.kind == "outcome" and entry.name == "tool.edit_file" for entry in entries)
        last = entries[-1]
        return last.kind == "intent" and last.name == "tool.bash" and (edited or not after_edit)
    return False


def _inspect(stage: Stage, say: Callable[[str], None]) -> int:
    from necrocode.config_sources import load_config
    from necrocode.engine import audit
    from necrocode.runner import Runner
    from necrocode.states.lifecycle import LIFECYCLE
    from necrocode.views import run_json

    with Runner(load_config({"home": stage.home}, environ=stage.environment, cwd=stage.root)) as runner:
        journal = runner.journal
        (run,) = journal.runs()
        shown = run_json(journal, run)
        say(f"the remote's branch {shown['branch']}:")
        say(_indented(git(stage.remote, "log", "--stat", "--format=%h %s%n%n%b", "-1", str(shown["branch"]))))
        passed = _tests_pass(stage, str(shown["branch"]), say)
        say("\nthe journal, from the kill on:")
        entries = list(journal.entries(run.run_id))
        for entry in _around_kill(entries):
            say(f"    {entry.seq:3}  epoch {entry.epoch}  {entry.state:<12} {entry.kind:<10} {entry.name} {entry.key}")
        for entry in journal.outcomes(run.run_id, "tool.bash"):
            told = str(journal.payload(entry)["result"]["content"])
            line = next((text for text in told.splitlines() if "time(s)" in text), None)
            if line is not None:
                say(f"\nthe command that was running at the kill, as the model was told: {line!r}")
        report = audit.verify(journal, lifecycles={LIFECYCLE.name: LIFECYCLE})
        held = runner.lent_slots()
        say(f"LLM answers recorded: {shown['llm_calls']}{_asked(stage)}")
        say(f"journal verified: {report.entries_checked} entries, {len(report.problems)} problems")
        say(f"slots still lent: {len(held)}")
        good = passed and report.ok and not held and run.state == "completed"
        say("\nkilled, resumed, pushed once." if good else "\nsomething is wrong: see above")
        return exits.COMPLETED if good else exits.ENVIRONMENT


def _tests_pass(stage: Stage, branch: str, say: Callable[[str], None]) -> bool:
    """Run the tests in a fresh clone of what was pushed."""
    clone = stage.root / "clone"
    git(stage.root, "clone", "--quiet", "--branch", branch, str(stage.remote), str(clone))
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "-s", "tests", "-t", "."],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    say("the tests, in a fresh clone of that branch:")
    say(_indented(done.stderr.strip().splitlines()[-1]))
    return done.returncode == 0


def _around_kill(entries: list[Entry]) -> list[Entry]:
    """The last entry of the killed process, and what the next one did until the model was asked again."""
    claim = next((i for i, entry in enumerate(entries) if entry.name == "claimed" and entry.epoch > 1), None)
    if claim is None:
        return []
    return entries[max(0, claim - 1) : claim + 10]


def _asked(stage: Stage) -> str:
    if not stage.recorded:
        return ""
    answered = [json.loads(line) for line in stage.requests.read_text(encoding="utf-8").splitlines()]
    return f", requests that the model's server saw: {len(answered)}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def _remove(root: Path) -> None:
    import shutil

    shutil.rmtree(root, ignore_errors=True)
