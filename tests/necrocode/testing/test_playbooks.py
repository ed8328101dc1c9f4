"""Playbooks as files, and which one a repository gets that names none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from necrocode.documents import parse
from necrocode.engine.errors import TaskError
from necrocode.states.plan import Looks
from necrocode.testing.playbooks import DEFAULTS, ORDER, InvalidPlaybook, PlaybookFiles, load_playbook
from tests.states.test_playbook import Files

GOOD = """
name: python
steps:
  - name: lint
    run: ruff check .
    when: "exists('pyproject.toml')"
    fail_fast: false
    allow_failure: true
  - name: tests
    run: python -m pytest -q
    timeout_seconds: 600
    retries: 1
    junit: reports/*.xml
"""


def said(path: Path) -> str:
    with pytest.raises(InvalidPlaybook) as caught:
        load_playbook(path)
    return str(caught.value)


def test_a_playbook_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "play.yaml"
    path.write_text(GOOD)
    assert [step.name for step in load_playbook(path).steps] == ["lint", "tests"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("steps: [", "is not YAML"),
        ("- a\n- b\n", "must hold a mapping"),
        ("name: x\n", "steps: is required"),
        ("steps: []\n", "steps"),
        ("steps:\n- &a {name: x, run: y}\n- *a\n", "alias"),
        ("steps: !!python/object/apply:os.system ['true']\n", "is not YAML"),
        ("steps:\n- {name: x, run: y, run: z}\n", "the key 'run' twice"),
        ("steps:\n- {name: x, run: y, on: push}\n", "steps[0].True"),
        ("steps:\n- {name: x, run: y, when: \"__import__('os')\"}\n", "steps[0].when"),
        ("a: " + "[" * 100 + "]" * 100, "levels deep"),
        ("name: " + "x" * 300_000, "larger than"),
    ],
)
def test_what_is_no_playbook_is_refused_with_the_reason(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "play.yaml"
    path.write_text(content)
    expected = words if words != "steps[0].True" else "which is not text"
    assert expected in said(path)
    if len(content) < 250_000:
        with pytest.raises(TaskError) as caught:
            PlaybookFiles().read(content.encode(), "the playbook")
        assert caught.value.stop_reason == "invalid_playbook"


def test_a_path_with_no_file_behind_it_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert "does not exist" in said(tmp_path / "none.yaml")
    assert "is no file" in said(tmp_path)
    assert "is no file" in said(tmp_path / "pipe.yaml")
    assert said(tmp_path / "loop.yaml")


# --- which one a repository gets ---


def detected(**files: str) -> str | None:
    contents = {name.replace("__", "/"): content.encode() for name, content in files.items()}
    found = PlaybookFiles().detected(Looks(Files(contents), "tree").holds)
    return None if found is None else found.name


def test_every_known_kind_has_a_playbook_and_every_file_is_a_known_kind() -> None:
    assert {f"{kind}.yaml" for kind in ORDER} == {path.name for path in DEFAULTS.iterdir()}
    for kind in ORDER:
        assert set(parse((DEFAULTS / f"{kind}.yaml").read_bytes(), "yaml")) == {"detect", "steps"}


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"pytest.ini": "", "tests/test_a.py": ""}, "pytest"),
        ({"pyproject.toml": "[tool.pytest.ini_options]", "test_a.py": ""}, "pytest"),
        ({"setup.cfg": "[tool:pytest]", "a_test.py": ""}, "pytest"),
        ({"conftest.py": "", "t/test_a.py": "", "Makefile": "test:\n"}, "pytest"),
        ({"pytest.ini": "", "Makefile": "test:\n"}, "make"),
        ({"tests/test_a.py": ""}, "python"),
        ({"pyproject.toml": ""}, None),
        ({"package.json": '{"scripts": {"test": "jest"}}'}, "npm"),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, None),
        ({"package.json": '{"scripts": {"tests": "jest"}, "jest": {"test": "x"}}'}, None),
        ({"package.json": "{"}, None),
        ({"Cargo.toml": ""}, "cargo"),
        ({"go.mod": "", "a_test.go": ""}, "go"),
        ({"go.mod": ""}, None),
        ({"Makefile": "all:\ntest: all\n"}, "make"),
        ({"Makefile": "check:\n"}, "make"),
        ({"Makefile": "tests:\nlatest:\ntest := x\n"}, None),
        ({"greet.py": "", "README.md": "pytest"}, None),
    ],
)
def test_what_a_repository_looks_like(files: dict[str, str], kind: str | None) -> None:
    assert detected(**files) == kind
