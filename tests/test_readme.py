"""The README says what the code says."""

from __future__ import annotations

import re

from necrocode import exits
from necrocode.cli import COMMANDS
from tests.readme import README, generated


def test_the_lifecycle_in_the_readme_is_the_one_that_runs() -> None:
    text = README.read_text(encoding="utf-8")

    assert text == generated(text), "run: python -m tests.readme"


def test_every_exit_code_is_explained() -> None:
    text = README.read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}

    assert listed == {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}


def test_every_command_in_the_readme_exists() -> None:
    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"^necrocode (\w+)", text, re.MULTILINE)) | set(re.findall(r"`necrocode (\w+)", text))

    assert named <= set(COMMANDS)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*pytest.*$", text, re.MULTILINE)
    ci = (README.parent / ".ci" / "run").read_text(encoding="utf-8")

    assert len(commands) == 1
    for part in commands[0].split(" && "):
        assert part in ci
