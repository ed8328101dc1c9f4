"""``slot_path``: a user's own folder is worked in, and is afterwards what it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, GATE, SOLVE, Stage


@pytest.fixture
def own(stage: Stage) -> Path:
    """A user's clone on a branch of theirs, with untracked and ignored files."""
    own = stage.root / "own"
    git(stage.root, "clone", "--quiet", str(stage.remote), str(own))
    git(own, "checkout", "--quiet", "-b", "my-work")
    (own / "notes.txt").write_text("mine, untracked\n", encoding="utf-8")
    (own / "debug.log").write_text("mine, ignored\n", encoding="utf-8")
    (own / "empty").mkdir()
    return own


def as_it_was(own: Path) -> dict[str, object]:
    """Everything about the folder that the user would miss."""
    files = {
        str(path.relative_to(own)): path.read_bytes()
        for path in own.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(own).parts
    }
    return {
        "files": files,
        "refs": git(own, "for-each-ref"),
        "head": (own / ".git" / "HEAD").read_text(encoding="utf-8"),
        "status": git(own, "status", "--porcelain"),
        "config": (own / ".git" / "config").read_bytes(),
        "empty": (own / "empty").is_dir(),
    }


def task_of(stage: Stage, own: Path, **fields: Any) -> Path:
    """A task that names the folder only."""
    return stage.task(repo_url=None, slot_path=str(own), **fields)


def test_the_users_folder_is_put_back_and_the_branch_is_pushed_to_its_origin(
    stage: Stage, play: Play, own: Path
) -> None:
    play(*SOLVE)
    before = as_it_was(own)
    done = stage.necrocode("run", task_of(stage, own))
    assert done.code == 0, done.err
    assert as_it_was(own) == before
    assert git(stage.remote, "diff", "--name-only", "main", BRANCH).split() == ["greet.py"]
    assert stage.only_run.data["last_slot"]["kind"] == "folder"


def test_a_dirty_folder_is_refused_untouched(stage: Stage, play: Play, own: Path) -> None:
    model = play(*SOLVE)
    (own / "greet.py").write_text("half done\n", encoding="utf-8")
    before = as_it_was(own)
    done = stage.necrocode("run", task_of(stage, own))
    assert done.code == 1, done.err
    assert stage.only_run.stop_reason == "slot_dirty"
    assert "greet.py" in done.err and "commit or stash" in done.err
    assert as_it_was(own) == before
    assert model.requests == []


def test_a_dirty_folder_can_be_saved_first(stage: Stage, play: Play, own: Path) -> None:
    play(*SOLVE)
    (own / "greet.py").write_text("half done\n", encoding="utf-8")
    before = as_it_was(own)
    done = stage.necrocode("run", task_of(stage, own), NECROCODE_ON_DIRTY_FOLDER="save")
    assert done.code == 0, done.err
    assert as_it_was(own) == before
    assert git(stage.remote, "diff", "--name-only", "main", BRANCH).split() == ["greet.py"]


def test_a_folder_that_is_no_checkout_is_refused(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    plain = stage.root / "plain"
    plain.mkdir()
    (plain / "file.txt").write_text("x\n", encoding="utf-8")
    done = stage.necrocode("run", task_of(stage, plain))
    assert done.code == 1, done.err
    assert stage.only_run.stop_reason == "slot_unusable"
    assert [path.name for path in plain.iterdir()] == ["file.txt"]
    assert stage.necrocode("run", task_of(stage, stage.root / "nowhere", task_id="2")).code == 1


@pytest.mark.parametrize("ending", ["failed", "killed and resumed", "killed and cancelled"])
def test_whatever_becomes_of_the_run_the_folder_is_put_back(stage: Stage, play: Play, own: Path, ending: str) -> None:
    play(*SOLVE)
    before = as_it_was(own)
    if ending == "failed":
        tests = ["rm notes.txt; echo x > greet.py; echo y > new.txt; false"]
        done = stage.necrocode(
            "run", task_of(stage, own, test_commands=tests), NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS="1"
        )
        assert done.code == 1, done.err
    else:
        process = stage.start_gated("run", task_of(stage, own, test_commands=[GATE]))
        os.kill(process.pid, signal.SIGKILL)
        stage.finish(process)
        assert as_it_was(own) != before
        if ending == "killed and resumed":
            (own / "gate.log").touch()
            assert stage.necrocode("resume", "--all").code == 0
            (own / "gate.log").unlink()
        else:
            assert stage.necrocode("cancel", stage.only_run.run_id).code == 0
    assert as_it_was(own) == before
