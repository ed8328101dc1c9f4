"""Who may do what: tokens, scopes, and what nobody needs one for."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from necrocode.errors import InvalidInput
from necrocode.serve.application import application
from necrocode.serve.gate import Limits
from necrocode.serve.listening import is_loopback
from necrocode.serve.tokens import VARIABLE, Token, Tokens, load_tokens
from tests.necrocode.serve.serving import command, listening, stores

READER, RUNNER, ADMIN = (f"the-{scope}-token-of-these-tests" for scope in ("reader", "runner", "admin"))
TOKENS = Tokens((Token("reader", READER), Token("runner", RUNNER), Token("admin", ADMIN)))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_an_unauthenticated_caller_reaches_only_health(tmp_path: Path) -> None:
    with stores(tmp_path / "home") as services:
        calls = application(services, TOKENS, Limits()).openapi()["paths"]
        with listening(services, tokens=TOKENS) as url, httpx.Client(base_url=url) as client:
            for path, methods in {**calls, "/openapi.json": {"get": {}}, "/nowhere": {"get": {}}}.items():
                for method in methods:
                    answer = client.request(method.upper(), path)
                    assert answer.status_code == (200 if path == "/health" else 401), (method, path)
            for header in ("Bearer wrong-token-of-some-length", f"Basic {ADMIN}", ADMIN, "Bearer", f"Bearer {ADMIN}x"):
                answer = client.get("/tasks", headers={"Authorization": header})
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_each_scope_may_do_what_those_before_it_may(tmp_path: Path) -> None:
    def allowed(token: str) -> list[bool]:
        headers = bearer(token)
        answers = [
            client.get("/tasks", headers=headers),
            client.put("/tasks/1/status", json={"status": "running"}, headers=headers),
            client.put("/tasksets/s", json={"tasks": []}, headers=headers),
        ]
        assert {answer.status_code for answer in answers} <= {200, 204, 403}
        return [answer.is_success for answer in answers]

    with (
        stores(tmp_path / "home") as services,
        listening(services, tokens=TOKENS) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert allowed(READER) == [True, False, False]
        assert allowed(RUNNER) == [True, True, False]
        assert allowed(ADMIN) == [True, True, True]


def test_the_document_names_the_tokens(tmp_path: Path) -> None:
    with stores(tmp_path / "home") as services:
        document = application(services, TOKENS, Limits()).openapi()
    assert document["paths"]["/health"]["get"]["security"] == []
    assert document["paths"]["/tasks"]["get"]["security"] == [{"token": []}]


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# ours\nreader: {READER}\n\nadmin = {ADMIN}\n")
    file.chmod(0o600)
    tokens, warnings = load_tokens(file, {})
    assert [token.scope for token in tokens.known] == ["reader", "admin"] and not warnings
    file.chmod(0o644)
    assert "can be read by other users" in load_tokens(None, {VARIABLE + "_FILE": str(file)})[1][0]
    tokens, _ = load_tokens(None, {VARIABLE: f"runner: {RUNNER}; reader:{READER}"})
    assert [token.scope for token in tokens.known] == ["runner", "reader"]
    assert not load_tokens(None, {})[0]
    assert ADMIN not in repr(TOKENS)


@pytest.mark.parametrize("text", [f"root: {ADMIN}", "admin: short", ADMIN, "admin: with a space in it", "# nothing"])
def test_tokens_that_cannot_be_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_tokens(None, {VARIABLE: text})
    assert text.partition(": ")[2] not in str(caught.value) or not text.partition(": ")[2]
    assert ADMIN not in str(caught.value)


def test_loopback_is_told_from_other_addresses() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_it_listens_elsewhere_only_with_tokens(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "necrocode", "serve", "--home", str(tmp_path / "home"), "--host", "0.0.0.0"]
    refused = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "can be reached from other machines: give callers tokens" in refused.stderr
    assert not (tmp_path / "home").exists()


def test_tokens_never_stand_in_what_the_server_says(tmp_path: Path) -> None:
    environ = {**os.environ, VARIABLE: f"admin: {ADMIN}", "NECROCODE_LOCK_TIMEOUT_SECONDS": "0.1"}
    with command(tmp_path / "home", environ=environ) as served:
        assert httpx.get(f"{served.url}/tasks").status_code == 401
        with closing(sqlite3.connect(tmp_path / "home" / "services.db", isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            # a token where it does not belong, in a call whose failure is logged with its path
            place = f"{served.url}/tasks/{ADMIN}/status"
            refused = httpx.put(place, json={"status": "running"}, headers=bearer(ADMIN))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        served.process.terminate()
        out, err = served.process.communicate()
    assert "PUT /tasks/***/status" in err
    assert ADMIN not in out + err
