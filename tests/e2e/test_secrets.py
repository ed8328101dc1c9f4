"""No loaded credential ends up anywhere: not in home, remote, logs or what is printed, in no usual encoding."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from necrocode.demo.stage import git
from necrocode.serve.tokens import VARIABLE
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, EDIT, FINISH, Stage, calls
from tests.necrocode.serve.serving import command

SECRET = 'sk-"quoted"/and+slashed=0123456789'
"""With characters that every encoding writes in its own way."""


def forms_of(secret: str) -> dict[str, str]:
    """What must be found nowhere, by how it is written."""
    return {
        "plain": secret,
        "json": json.dumps(secret)[1:-1],
        "url": quote(secret, safe=""),
        "base64": base64.b64encode(secret.encode()).decode().rstrip("="),
        "base64 of a line": base64.b64encode(f"{secret}\n".encode()).decode()[:-6],
        "base64 of an assignment": base64.b64encode(f"KEY={secret}".encode()).decode()[8:-4],
    }


FORMS = forms_of(SECRET)


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


def test_no_credential_of_any_service_is_written_anywhere_on_either_side(
    stage: Stage, play: Play, tmp_path: Path
) -> None:
    """The model reads, prints and repeats them all, an answer of the model's server does, and the run fails in the end:
    its error, its log and its partial work are kept."""
    secrets = {
        variable: f'{variable.lower()}-"of"/this+run=0123456789'
        for variable in ("GIT_TOKEN", "TASK_REGISTRY_TOKEN", "REPO_POOL_TOKEN", "ARTIFACT_STORE_TOKEN")
    } | {"LLM_API_KEY": SECRET}
    stage.push({"notes/keys.txt": "".join(f"{name}={value}\n" for name, value in secrets.items())})
    known = set(_objects(stage.remote))
    said = " and ".join(secrets.values())
    play(
        calls(("read_file", {"path": "notes/keys.txt"}), ("search", {"pattern": "of"}), text=f"I saw {said}."),
        calls(("bash", {"command": "cat notes/keys.txt; base64 notes/keys.txt; env | sort; cat /proc/*/environ"})),
        {**EDIT, "faults": [{"status": 500, "body": {"error": {"message": f"no quota for {said}"}}}]},
        FINISH,
        key=SECRET,
    )
    task = stage.task(description=f"Use {said}.", test_commands=["cat notes/keys.txt; exit 1"])
    tokens = "".join(f"runner: {value}\n" for name, value in secrets.items() if name.endswith("_TOKEN"))
    served_home = tmp_path / "served"
    with command(served_home, environ={"PATH": os.environ["PATH"], VARIABLE: tokens}) as served:
        done = stage.necrocode(
            *("run", "--json", task),
            TASK_REGISTRY_URL=served.urls["registry"],
            REPO_POOL_URL=served.urls["pool"],
            ARTIFACT_STORE_URL=served.urls["artifacts"],
            NECROCODE_MAX_IMPLEMENTATION_ATTEMPTS="1",
            NECROCODE_STRUCTURED_LOGGING="true",
            NECROCODE_PUSH_PARTIAL_WORK="true",
            **secrets,
        )
        assert done.code == 1, done.err
        with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {secrets['GIT_TOKEN']}"}) as client:
            events = client.get("/tasks/1/events").json()["events"]
            assert [event["event_type"] for event in events] == ["RunnerStarted", "TaskFailed"]
            kept = {
                one["type"]: client.get(one["uri"]).content
                for one in client.get("/tasks/1/artifacts").json()["artifacts"]
            }
    assert "***" in kept["test"].decode() and "***" in kept["log"].decode()
    forms = {f"{name}, {how}": form for name, value in secrets.items() for how, form in forms_of(value).items()}
    for where, content in kept.items():
        _assert_clean(where, content, forms)
    _assert_clean("what was printed", (done.out + done.err).encode(), forms)
    _assert_clean("the registry's events", json.dumps(events).encode(), forms)
    _search_home(stage, known, forms)
    for path in served_home.rglob("*"):
        if path.is_file() and not {"work", "objects"} & set(path.relative_to(served_home).parts):
            _assert_clean(str(path), path.read_bytes(), forms)


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


def _search_home(stage: Stage, known: set[str], forms: Mapping[str, str] = FORMS) -> None:
    """Look at every byte below the home (what is compressed, unpacked), and at every git object that was not
    ``known`` before.
    """
    looked_at = 0
    for path in stage.home.rglob("*"):
        # a working copy and the objects hold the repository itself, and so what is in it already
        if path.is_file() and not {"work", "objects"} & set(path.relative_to(stage.home).parts):
            _assert_clean(str(path), path.read_bytes(), forms)
            looked_at += 1
    assert looked_at > 5
    for run in stage.runs():
        for entry, payload in stage.entries(run.run_id):
            _assert_clean(f"entry {entry.seq}", json.dumps(payload, ensure_ascii=False).encode(), forms)
            _assert_clean(f"entry {entry.seq}", json.dumps(payload).encode(), forms)
    for repository in (stage.remote, *stage.home.glob("repos/*/*.git")):
        for name, content in _objects(repository).items():
            if name not in known:
                _assert_clean(f"object {name} in {repository.name}", content, forms)


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


def _assert_clean(where: str, content: bytes, forms: Mapping[str, str] = FORMS) -> None:
    for name, form in forms.items():
        assert form.encode() not in content, f"{where} holds the secret ({name})"


def test_the_search_itself_finds_every_form() -> None:
    for name, form in FORMS.items():
        with pytest.raises(AssertionError, match=name):
            _assert_clean("here", b"x " + form.encode() + b" y")
