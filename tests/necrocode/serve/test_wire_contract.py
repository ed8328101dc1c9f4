"""A client that knows the wire contract and no more: no idempotency key, no epoch, no generation, nothing of ours."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from necrocode.serve.tokens import Token, Tokens
from tests.necrocode.serve.serving import listening, stores

TOKEN = "a-plain-clients-own-token"
CONTENT = bytes(range(256)) * 4096


@dataclass
class Plain:
    """What a script of anyone's does."""

    url: str

    def send(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of the answer."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        if body is not None:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(
            path if "://" in path else self.url + path, data=body, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer that is a success; ``None`` if it has no body."""
        status, content = self.send(method, path, None if body is None else json.dumps(body).encode())
        assert 200 <= status < 300, content
        return json.loads(content) if content else None


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Plain]:
    with (
        stores(tmp_path / "home", slots=1) as services,
        listening(services, tokens=Tokens([Token("runner", TOKEN)])) as url,
    ):
        yield Plain(url)


def test_the_task_registry(plain: Plain) -> None:
    now = int(time.time())
    plain.json("PUT", "/tasks/1.1/status", {"status": "running", "metadata": {}, "updated_at": now})
    assert plain.json("GET", "/tasks/1.1")["status"] == "running"
    event = {"event_type": "RunnerStarted", "data": {"runner_id": "r"}, "timestamp": now}
    plain.json("POST", "/tasks/1.1/events", event)
    plain.json("POST", "/tasks/1.1/events", {**event, "event_type": "TaskCompleted"})
    artifact = {"type": "diff", "uri": "s3://b/x", "size_bytes": 3, "metadata": {}, "created_at": now}
    plain.json("POST", "/tasks/1.1/artifacts", artifact)
    plain.json("PUT", "/tasks/1.1/status", {"status": "done", "metadata": {}, "updated_at": now + 1})
    task = plain.json("GET", "/tasks/1.1")
    assert (task["status"], task["updated_at"]) == ("done", now + 1)
    kinds = [each["event_type"] for each in plain.json("GET", "/tasks/1.1/events")["events"]]
    assert kinds == ["RunnerStarted", "TaskCompleted"]
    assert [each["uri"] for each in plain.json("GET", "/tasks/1.1/artifacts")["artifacts"]] == ["s3://b/x"]
    assert plain.send("GET", "/tasks/unknown")[0] == 404


def test_the_repo_pool(plain: Plain) -> None:
    ask = {"repo_url": "https://git.example/x.git", "required_by": "agent-7"}
    slot = plain.json("POST", "/slots/allocate", ask)
    assert Path(slot["slot_path"]).is_dir()
    place = f"/slots/{urllib.parse.quote(slot['slot_id'], safe='')}"
    assert plain.json("GET", place)["holder"] == {"run_id": "agent-7"}
    plain.json("POST", f"{place}/renew")
    status, refusal = plain.send("POST", "/slots/allocate", json.dumps({**ask, "timeout_seconds": 0.1}).encode())
    assert (status, json.loads(refusal)["error"]["code"]) == (409, "no_slot")
    plain.json("POST", f"{place}/release")
    assert plain.json("GET", place)["holder"] is None
    again = plain.json("POST", "/slots/allocate", {**ask, "timeout_seconds": 5})
    assert again["slot_id"] == slot["slot_id"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (None, ""),
        (b"", "application/json"),
        (b"", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"null", "application/json"),
    ],
    ids=["none", "empty", "as a form is sent", "an object", "null"],
)
def test_a_slot_is_renewed_and_given_back_however_nothing_is_said(
    plain: Plain, body: bytes | None, content_type: str
) -> None:
    ask = {"repo_url": "https://git.example/x.git", "required_by": "agent-7"}
    slot = plain.json("POST", "/slots/allocate", ask)["slot_id"]
    for call, wanted in (("renew", 200), ("release", 204)):
        status, answer = plain.send("POST", f"/slots/{slot}/{call}", body, content_type)
        assert status == wanted, answer
    assert plain.json("GET", f"/slots/{slot}")["holder"] is None


def test_the_artifact_store(plain: Plain) -> None:
    parts = {"type": b"log", "metadata": b'{"task": "1.1"}', 'file"; filename="run.log': CONTENT}
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + part + b"\r\n"
        for name, part in parts.items()
    )
    status, answer = plain.send("POST", "/artifacts", body + b"--b--\r\n", "multipart/form-data; boundary=b")
    assert status == 201, answer
    uri = json.loads(answer)["uri"]
    assert plain.send("GET", uri) == (200, CONTENT)
    about = plain.json("GET", f"/artifacts/metadata?uri={urllib.parse.quote(uri, safe='')}")
    assert (about["type"], about["size_bytes"], about["metadata"]) == ("log", len(CONTENT), {"task": "1.1"})
    assert about["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert plain.send("GET", uri[:-1] + ("0" if uri[-1] != "0" else "1"))[0] == 404


def test_health(plain: Plain) -> None:
    assert plain.send("GET", "/health")[0] == 200


def test_without_the_token_only_health_answers(plain: Plain) -> None:
    for path, wanted in (("/health", 200), ("/tasks/1", 401), ("/slots/1", 401), ("/artifacts/metadata?uri=x", 401)):
        try:
            with urllib.request.urlopen(plain.url + path, timeout=30) as answer:
                status = answer.status
        except urllib.error.HTTPError as refused:
            with refused:
                status = refused.code
        assert status == wanted
