"""No loaded credential ends up anywhere: not in home, remote, logs or what is printed, in no usual encoding."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, EDIT, FINISH, Stage, calls

SECRET = 'sk-"quoted"/and+slashed=0123456789'
"""With characters that every encoding writes in its own way."""

FORMS = {
    "plain": SECRET,
    "json": json.dumps(SECRET)[1:-1],
    "url": quote(SECRET, safe=""),
    "base64": base64.b64encode(SECRET.encode()).decode().rstrip("="),
    "base64 of a line": base64.b64encode(f"{SECRET}\n".encode()).decode()[:-6],
    "base64 of an assignment": base64.b64encode(f"KEY={SECRET}".encode()).decode()[8:-4],
}


def test_a_key_in_the_repository_in_output_and_in_answers_is_written_nowhere(stage: Stage, play: Play) -> None:
    stage.push({"notes/key.txt": f"{SECRET}\n"})
    known = set(_objects(stage.remote))
    model = play(
        calls(("read_file", {"path": "notes/key.txt"}), ("search", {"pattern": "quoted"}), text=f"I saw {SECRET}."),
        calls(("bash", {"command": "cat notes/key.txt; base64 -w0 notes/key.txt; echo; base64 notes/key.txt"})),
        calls(("bash", {"command": f"echo {quote(SECRET, safe='')}; printf '%s' '{SECRET}'"})),
        {**EDIT, "faults": [{"status": 500, "body": {"error": {"message": f"no quota for {SECRET}"}}}]},
        calls(("finish", {"summary": f"Done with {SECRET}"})),
        key=SECRET,
    )
    task = stage.task(description=f"Use {SECRET} to greet.", test_commands=["cat notes/key.txt; sh check.sh"])
    done = stage.necrocode("run", "--json", task, LLM_API_KEY=SECRET, NECROCODE_STRUCTURED_LOGGING="true")
    assert done.code == 0, done.err
    shown = stage.necrocode("show", stage.only_run.run_id, "--entries", LLM_API_KEY=SECRET)
    for text in (done.out, done.err, shown.out, shown.err):
        _assert_clean("what was printed", text.encode())
    _assert_clean("the messages to the model", json.dumps([r.body for r in model.requests[1:]]).encode())
    _assert_clean("the commit's message", git(stage.remote, "log", "-1", "--format=%B", BRANCH).encode())
    _assert_clean("the diff", git(stage.remote, "diff", "main", BRANCH).encode())
    _search_home(stage, known)


def test_a_key_that_gets_into_a_file_stops_the_run_before_the_push(stage: Stage, play: Play) -> None:
    encoded = base64.b64encode(f"KEY={SECRET}".encode()).decode()
    stage.push({"notes/key.txt": f"{SECRET}\n", "notes/encoded.txt": f"{encoded}\n"})
    known = set(_objects(stage.remote))
    for task_id, source in (("1", "key"), ("2", "encoded")):
        play(EDIT, calls(("bash", {"command": f"cp notes/{source}.txt greeting.cfg"})), FINISH, key=SECRET)
        done = stage.necrocode("run", stage.task(task_id=task_id), LLM_API_KEY=SECRET)
        assert done.code == 1, done.err
        run = stage.runs()[-1]
        assert (run.state, run.stop_reason) == ("failed", "secret_in_diff")
        assert "LLM key" in str(run.data["error"])
        _assert_clean("what was printed", (done.out + done.err).encode())
    assert set(stage.branches()) == {"main"}
    _search_home(stage, known)


def test_a_key_the_model_writes_itself_reaches_the_file_only_masked(stage: Stage, play: Play) -> None:
    known = set(_objects(stage.remote))
    play(EDIT, calls(("write_file", {"path": "own.txt", "content": f"key = {SECRET}\n"})), FINISH, key=SECRET)
    done = stage.necrocode("run", stage.task(), LLM_API_KEY=SECRET)
    assert done.code == 0, done.err
    assert git(stage.remote, "show", f"{BRANCH}:own.txt") == "key = ***\n"
    _search_home(stage, known)


def test_with_masking_off_the_diff_is_still_searched(stage: Stage, play: Play) -> None:
    play(calls(("write_file", {"path": "own.txt", "content": f"key = {SECRET}\n"})), FINISH, key=SECRET)
    done = stage.necrocode("run", stage.task(), LLM_API_KEY=SECRET, NECROCODE_MASK_SECRETS="false")
    assert done.code == 1, done.err
    assert stage.only_run.stop_reason == "secret_in_diff"
    assert "mask_secrets is off" in done.err
    assert set(stage.branches()) == {"main"}


def _search_home(stage: Stage, known: set[str]) -> None:
    """Look at every byte below the home (what is compressed, unpacked), and at every git object that was not
    ``known`` before.
    """
    looked_at = 0
    for path in stage.home.rglob("*"):
        # a working copy and the objects hold the repository itself, and so what is in it already
        if path.is_file() and not {"work", "objects"} & set(path.relative_to(stage.home).parts):
            _assert_clean(str(path), path.read_bytes())
            looked_at += 1
    assert looked_at > 5
    for run in stage.runs():
        for entry, payload in stage.entries(run.run_id):
            _assert_clean(f"entry {entry.seq}", json.dumps(payload, ensure_ascii=False).encode())
            _assert_clean(f"entry {entry.seq}", json.dumps(payload).encode())
    for repository in (stage.remote, *stage.home.glob("repos/*/*.git")):
        for name, content in _objects(repository).items():
            if name not in known:
                _assert_clean(f"object {name} in {repository.name}", content)


def _objects(repository: Path) -> dict[str, bytes]:
    listed = git(repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    done = subprocess.run(
        ["git", "cat-file", "--batch=%(objectname) %(objectsize)"],
        cwd=repository,
        input="".join(f"{name}\n" for name in listed).encode(),
        capture_output=True,
        check=True,
    )
    objects, rest = {}, done.stdout
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, size = head.decode().split()
        objects[name], rest = rest[: int(size)], rest[int(size) + 1 :]
    return objects


def _assert_clean(where: str, content: bytes) -> None:
    for name, form in FORMS.items():
        assert form.encode() not in content, f"{where} holds the secret ({name})"


def test_the_search_itself_finds_every_form() -> None:
    for name, form in FORMS.items():
        with pytest.raises(AssertionError, match=name):
            _assert_clean("here", b"x " + form.encode() + b" y")
