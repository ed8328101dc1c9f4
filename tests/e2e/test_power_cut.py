"""What the journal names is on the disk before the journal names it: seen by strace in a real run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from necrocode.demo.stage import git
from tests.crash.traced import Call, calls, first_written, strace
from tests.e2e.conftest import Play
from tests.e2e.stage import SOLVE, Stage
from tests.e2e.stage import calls as answer

WRITES = answer(("bash", {"command": "mkdir -p sub; echo x > sub/effects.txt; echo y > other.txt"}))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Where strace writes to; skips where it is missing or forbidden."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([*strace(Path("/dev/null")), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace cannot trace here: {tried.stderr.strip()}")
    return tmp_path / "trace"


def named(stage: Stage) -> dict[str, set[Path]]:
    """Ids of objects and hashes of artifacts in the journal, and the files that each stands for."""
    (place,) = (stage.home / "repos").iterdir()
    store, cache = place / "snapshots.git", place / "cache.git"
    skeleton = {each / name for each in (store, cache) for name in ("HEAD", "config", "refs")}
    skeleton |= {store / "objects/info/alternates", store / "refs/necrocode/runs" / stage.only_run.run_id}
    packs = set((cache / "objects/pack").iterdir())
    text = json.dumps([payload for _, payload in stage.entries()])
    found: dict[str, set[Path]] = {}
    for oid in re.findall(r"\b[0-9a-f]{40}\b", text):
        reached = {line[:40] for line in git(store, "rev-list", "--objects", oid).splitlines()}
        loose = {store / "objects" / each[:2] / each[2:] for each in reached}
        found[oid] = skeleton | packs | {each for each in loose if each.exists()}
    for digest in re.findall(r"\b[0-9a-f]{64}\b", text):
        path = stage.home / "artifacts/sha256" / digest[:2] / digest[2:]
        if path.exists():
            found[digest] = {path}
    return found


def endangered(stage: Stage, wanted: Mapping[str, Iterable[Path]], made: Iterable[Call]) -> dict[str, list[str]]:
    """What a power cut could take of each when the journal first writes its name down."""
    return {
        word: [words for path in wanted[word] for words in disk.endangered(path)]
        for word, disk in first_written(stage.home / "journal.db", wanted, made)
    }


def test_what_an_outcome_names_is_synced_before_the_outcome_is_written(stage: Stage, play: Play, trace: Path) -> None:
    play(WRITES, *SOLVE)
    (stage.root / "user").mkdir()
    ran = subprocess.run(
        [*strace(trace), sys.executable, "-m", "necrocode", "run", str(stage.task())],
        cwd=stage.root,
        env=stage.env(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    made, wanted = list(calls(trace)), named(stage)
    assert len([word for word in wanted if len(word) == 40]) >= 5, "the base, two snapshots, the commit and its tree"
    assert len([word for word in wanted if len(word) == 64]) >= 3, "the diff, the log, the test results"
    assert endangered(stage, wanted, made) == {word: [] for word in wanted}

    def without(synced: str) -> list[str]:
        kept = [call for call in made if not (call.name in ("fsync", "fdatasync") and call.paths[0].match(synced))]
        return [words for found in endangered(stage, wanted, kept).values() for words in found]

    for missing in (
        "cache.git/objects/pack", "cache.git/objects/pack/*", "cache.git.new/config", "snapshots.git.new/config",
        "snapshots.git.new/objects", "snapshots.git/objects/??", "snapshots.git/objects/tmp_object_*",
        "snapshots.git/refs/necrocode/runs", "artifacts/writing/*", "artifacts/sha256/??", "repos", "artifacts",
    ):  # fmt: skip
        assert without(missing), f"nobody would miss a sync of {missing}"
