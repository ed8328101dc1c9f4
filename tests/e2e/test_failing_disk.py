"""Disks that fail (EIO) under files: exit 3, nothing lost, and the run goes on once that is mended."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from necrocode.demo.stage import git
from necrocode.scripted.server import ScriptedServer
from tests.crash.processes import keepers
from tests.e2e.commands import Forked
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, SOLVE, Finished, Stage, calls

MARKED = calls(("bash", {"command": "echo x >> effects.txt"}))


@pytest.fixture
def model(play: Play) -> ScriptedServer:
    return play(MARKED, *SOLVE)


def parks(done: Finished) -> None:
    """It ended with exit code 3, and said what is broken and what to do then."""
    assert done.code == 3, done.err
    assert "I/O error" in done.err and "resume" in done.err, done.err


def goes_on(stage: Stage, model: ScriptedServer) -> None:
    """The disk is mended: the run ends well, nothing was bought or run twice, and everything is whole."""
    done = stage.necrocode("resume", "--all")
    assert done.code == 0, done.err
    assert model.answered == [0, 1, 2], "an answer was bought twice"
    assert stage.branch_updates(BRANCH) == 1
    if "interrupted" in str(model.requests[-1].body["messages"]):
        assert "effects.txt" not in git(stage.remote, "ls-tree", "--name-only", BRANCH), "what it did is undone"
    else:
        assert git(stage.remote, "show", f"{BRANCH}:effects.txt") == "x\n", "the command ran once"
    assert {artifact["type"] for artifact in stage.only_run.data["artifacts"]} == {"diff", "test", "log"}
    for store in stage.home.glob("repos/*/*.git"):
        git(store, "fsck", "--full", "--no-dangling")
    for command in (("verify", "--all"), ("doctor",)):
        assert stage.necrocode(*command).code == 0


@pytest.mark.parametrize(
    "point",
    [
        "intent preparing workspace.lay/state",
        "intent implementing tool.bash/commands",
        "intent implementing tool.bash/snapshots.git",
        "intent implementing tool.edit_file/.necrocode-",
        "intent implementing tool.edit_file/snapshots.git",
        "intent testing command.test/commands",
        "intent uploading artifact.upload/artifacts",
    ],
)
def test_files_that_can_be_written_no_more_stop_the_run_and_nothing_is_lost(
    stage: Stage, model: ScriptedServer, point: str
) -> None:
    (stage.root / "user").mkdir()
    failing = [str(stage.root / "note.json"), "fail", point, "run", str(stage.task())]
    parks(stage.finish(Forked(failing, stage.env(), stage.root, mortal=True)))
    goes_on(stage, model)


@pytest.fixture
def strace() -> list[str]:
    """What a command line begins with to have system calls fail; skips where strace is missing or forbidden."""
    # The filter spares whatever else is called the stop at the tracer.
    line = ["strace", "--follow-forks", "--seccomp-bpf", "--output=/dev/null"]
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([*line, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace cannot trace here: {tried.stderr.strip()}")
    return line


@pytest.mark.parametrize(
    ("call", "nth"),
    [
        *(("fsync", nth) for nth in (8, 540)),
        *(("fdatasync", nth) for nth in (8, 60)),
        *(("rename", nth) for nth in (8, 30)),
        *(("pwrite64", nth) for nth in (8, 200)),
    ],
)
def test_system_calls_that_fail_from_some_time_on_stop_the_run_and_nothing_is_lost(
    stage: Stage, model: ScriptedServer, strace: list[str], call: str, nth: int
) -> None:
    """Whoever makes them: SQLite, libgit2, git, Python."""
    assert stage.necrocode("doctor").code == 0
    stage.prefix = (*strace, f"--trace={call}", f"--inject={call}:error=EIO:when={nth}+")
    done = stage.necrocode("run", stage.task())
    stage.prefix = ()
    stage.wait_until(lambda: not any(keepers(stage.home)))
    parks(done)
    if not stage.runs():
        # not even its beginning could be written down
        assert stage.necrocode("run", stage.task()).code == 0
        return
    goes_on(stage, model)
