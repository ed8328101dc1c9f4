"""SWE-bench instances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from necrocode.imports.imported import InvalidImport
from necrocode.imports.swe_bench import read_instances

INSTANCE = {
    "instance_id": "me__calc-1",
    "repo": "me/calc",
    "base_commit": "0123456789" * 4,
    "problem_statement": "Division fails\n\nIt says nothing.",
    "patch": "THE SOLUTION",
    "test_patch": "THE TESTS",
    "hints_text": "THE HINT",
    "version": "1.0",
    "FAIL_TO_PASS": '["tests/test_a.py::test_b"]',
    "PASS_TO_PASS": ["tests/test_a.py::test_c"],
}


def write(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "lite.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_an_instance_becomes_a_task(tmp_path: Path) -> None:
    imported = read_instances(write(tmp_path, INSTANCE, "", {**INSTANCE, "instance_id": "me__calc-2"}))
    first, second = imported.task_set.tasks
    assert imported.task_set.spec_name == "lite"
    assert (first.id, first.title, second.id) == ("me__calc-1", "Division fails", "me__calc-2")
    assert first.description == INSTANCE["problem_statement"]
    assert first.metadata["repo_url"] == "https://github.com/me/calc"
    assert first.metadata["swe_bench"] == {
        "base_commit": INSTANCE["base_commit"],
        "version": "1.0",
        "fail_to_pass": ["tests/test_a.py::test_b"],
        "pass_to_pass": ["tests/test_a.py::test_c"],
    }


def test_the_solution_comes_nowhere_near_the_task(tmp_path: Path) -> None:
    assert "THE " not in str(read_instances(write(tmp_path, INSTANCE)))


def test_that_the_base_commit_is_not_begun_on_is_said(tmp_path: Path) -> None:
    (warning,) = read_instances(write(tmp_path, INSTANCE)).warnings
    assert "begins on a branch, not on a commit" in warning


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([""], "holds no instance"),
        ([INSTANCE, "{"], "line 2: is not JSON"),
        (["[]"], "line 1: must be an object"),
        ([{}], "line 1: instance_id must be text.*\n.*problem_statement.*\n.*repo must be.*\n.*base_commit"),
        ([{**INSTANCE, "repo": "https://x"}], "line 1: repo must be such as 'owner/name'"),
        ([{**INSTANCE, "base_commit": "main"}], "line 1: base_commit must be"),
        ([{**INSTANCE, "FAIL_TO_PASS": "a test"}], "line 1: FAIL_TO_PASS must be a list"),
        ([{**INSTANCE, "PASS_TO_PASS": [1]}], "line 1: PASS_TO_PASS must be a list"),
        ([INSTANCE, "", INSTANCE], "line 3: 'me__calc-1' is on line 1 already"),
    ],
)
def test_what_is_no_instance_is_refused_by_line(tmp_path: Path, lines: list[Any], words: str) -> None:
    with pytest.raises(InvalidImport, match=words):
        read_instances(write(tmp_path, *lines))
