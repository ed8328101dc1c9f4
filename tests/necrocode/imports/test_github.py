"""GitHub issues as gh prints them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from necrocode.imports.github import read_issues
from necrocode.imports.imported import InvalidImport

ISSUE = {
    "title": "Crash on an empty file",
    "body": "Steps:\r\n1. open it",
    "number": 17,
    "url": "https://github.com/me/calculator/issues/17",
    "labels": [{"id": "x", "name": "bug", "color": "f00"}],
}


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "issue.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def test_an_issue_becomes_a_task_of_its_repository(tmp_path: Path) -> None:
    task_set = read_issues(write(tmp_path, ISSUE)).task_set
    (task,) = task_set.tasks
    assert (task_set.spec_name, task.id, task.title) == ("calculator", "17", "Crash on an empty file")
    assert task.description == "Steps:\r\n1. open it"
    assert task.metadata["repo_url"] == "https://github.com/me/calculator"
    assert task.metadata["labels"] == ["bug"]
    assert task.dependencies == ()


def test_a_list_of_issues_becomes_several_and_an_empty_body_is_the_title(tmp_path: Path) -> None:
    second = {**ISSUE, "number": 18, "body": "", "labels": []}
    task_set = read_issues(write(tmp_path, [ISSUE, second]), "bugs").task_set
    assert [(task.id, task.description) for task in task_set.tasks] == [
        ("17", "Steps:\r\n1. open it"),
        ("18", "Crash on an empty file"),
    ]
    assert task_set.spec_name == "bugs"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is not JSON"),
        ("", "is empty"),
        ([], "holds no issue"),
        ("3", "must be an issue"),
        ({"message": "Not Found"}, "title: must be text.*\n.*number: .*\n.*url: "),
        ({**ISSUE, "title": " "}, "title: must be text"),
        ({**ISSUE, "body": 3}, "body: must be text"),
        ({**ISSUE, "number": "17"}, "number: must be"),
        ({**ISSUE, "number": True}, "number: must be"),
        ({**ISSUE, "url": "https://github.com/me/calculator/pull/17"}, "url: must be"),
        ({**ISSUE, "labels": ["bug"]}, "labels: must be"),
        ([ISSUE, "x"], r"\[1\]: must be an issue"),
        ([ISSUE, {**ISSUE, "title": 1}], r"\[1\].title: must be"),
        ([ISSUE, ISSUE], r"\[1\].number: 17 is there twice"),
        ([ISSUE, {**ISSUE, "number": 1, "url": "https://github.com/me/x/issues/1"}], "of several repositories"),
    ],
)
def test_json_that_is_no_issue_is_refused_by_field(tmp_path: Path, document: Any, words: str) -> None:
    with pytest.raises(InvalidImport, match=words):
        read_issues(write(tmp_path, document))
