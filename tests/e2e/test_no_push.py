"""Runs that are not to push: the commit is kept as a bundle and a diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.stage import SOLVE, Stage


@pytest.mark.parametrize("how", ["flag", "setting"])
def test_without_a_push_the_commit_is_kept_and_can_be_fetched_and_applied(stage: Stage, play: Play, how: str) -> None:
    play(*SOLVE)
    flags = ["--no-push"] if how == "flag" else []
    env = {} if how == "flag" else {"NECROCODE_PUSH": "false"}
    done = stage.necrocode("run", *flags, stage.task(), **env)
    assert done.code == 0, done.err
    assert "not pushed" in done.err
    assert set(stage.branches()) == {"main"}
    run = stage.only_run
    visited = [entry.state for entry, _ in stage.entries() if entry.kind == "transition"]
    assert "pushing" not in visited
    assert visited[-1] == "completed"
    kept = {artifact["type"]: Path(artifact["uri"].removeprefix("file://")) for artifact in run.data["artifacts"]}
    assert set(kept) == {"diff", "bundle", "test", "log"}

    clone = stage.root / "clone"
    git(stage.root, "clone", "--quiet", str(stage.remote), str(clone))
    git(clone, "bundle", "verify", "--quiet", str(kept["bundle"]))
    git(clone, "fetch", "--quiet", str(kept["bundle"]), "HEAD:refs/heads/fetched")
    assert git(clone, "rev-parse", "fetched").strip() == run.data["commit"]
    assert git(clone, "rev-parse", "fetched^").strip() == stage.branches()["main"]
    git(clone, "apply", "--index", str(kept["diff"]))
    assert git(clone, "write-tree") == git(clone, "rev-parse", "fetched^{tree}")
    assert stage.events()[-1] == ("1", "TaskCompleted")
