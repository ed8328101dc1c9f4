"""The OpenAPI document says what the server does: schemathesis tries every call of it, with every check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from necrocode.serve.tokens import Token, Tokens
from tests.necrocode.serve.serving import listening, stores

ADMIN = "an-admin-token-of-the-tests"


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    tokens = Tokens((Token("admin", ADMIN),))
    # room for every slot it asks for: it does not wait long for an answer
    with stores(tmp_path / "home", slots=1000) as services, listening(services, tokens=tokens) as url:
        program = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
        options = ["--checks", "all", "--max-examples", "5", "--generation-deterministic", "--request-timeout", "60"]
        header = ["-H", f"Authorization: Bearer {ADMIN}"]
        tried = subprocess.run(
            [*program, *options, *header], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900
        )
    assert tried.returncode == 0, tried.stdout
    assert "No issues found" in tried.stdout
