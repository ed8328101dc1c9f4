"""Task files: every wrong field is named, nothing else is said, and nothing of a value is repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from necrocode.task_file import InvalidTask, load_task, load_tasks, task_from

GOOD: dict[str, Any] = {
    "task_id": "1.1",
    "spec_name": "auth",
    "title": "Log in",
    "description": "Users can log in.",
    "repo_url": "https://git.example/x.git",
}


def written(tmp_path: Path, content: object, name: str = "task.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def problems(tmp_path: Path, content: object, name: str = "task.json") -> list[str]:
    with pytest.raises(InvalidTask) as caught:
        load_task(written(tmp_path, content, name))
    return [str(problem) for problem in caught.value.problems]


def test_a_task_in_json(tmp_path: Path) -> None:
    loaded = load_task(written(tmp_path, GOOD | {"test_commands": ["pytest -q"], "timeout_seconds": 60}))
    assert (loaded.task.task_id, loaded.task.test_commands, loaded.warnings) == ("1.1", ["pytest -q"], ())


def test_a_task_in_yaml(tmp_path: Path) -> None:
    text = """
task_id: "1.1"
spec_name: auth
title: Log in
description: |
  Users can log in.
deadline_at: 2026-12-01T06:00:00Z
metadata: {repo_url: https://git.example/x.git}
"""
    for name in ("task.yaml", "task.yml", "task"):
        task = load_task(written(tmp_path, text, name)).task
        assert task.repository == "https://git.example/x.git"
        assert task.deadline_at is not None
        assert task.deadline_at.isoformat() == "2026-12-01T06:00:00+00:00"


def test_unknown_keys_are_warnings_that_name_them(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD | {"test_comands": ["x"], "zebra": 1})
    assert load_task(path).warnings == (
        f"task file {path}: the key 'test_comands' is not known; did you mean 'test_commands'?",
        f"task file {path}: the key 'zebra' is not known",
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task_id": 1.1}, "task_id: must be text, not a number"),
        ({"task_id": "  "}, "task_id: must not be empty"),
        ({"title": None}, "title: must be text, not empty"),
        ({"title": "x" * 201}, "title: must not be longer than 200 characters"),
        ({"description": ["x"]}, "description: must be text, not a list"),
        ({"acceptance_criteria": "one"}, "acceptance_criteria: must be a list, not text"),
        ({"dependencies": [1]}, "dependencies[0]: must be text, not a number"),
        ({"test_commands": ["ok", 5]}, "test_commands[1]: must be text, not a number"),
        ({"test_commands": ["ok", " "]}, "test_commands[1]: must not be empty"),
        ({"setup_commands": {"a": 1}}, "setup_commands: must be a list, not a mapping"),
        ({"env": {"A": 1}}, "env.A: must be text, not a number"),
        ({"env": {"1A": "x"}}, "env: '1A' is not the name of an environment variable"),
        ({"env": {"A": "x\0"}}, "env: the value of A holds a NUL character"),
        ({"pass_env": ["A B"]}, "pass_env: 'A B' is not the name of an environment variable"),
        ({"fail_fast": "maybe"}, "fail_fast: must be true or false"),
        ({"timeout_seconds": 0}, "timeout_seconds: must be more than 0"),
        ({"timeout_seconds": "soon"}, "timeout_seconds: must be a number"),
        ({"timeout_seconds": 10**9}, "timeout_seconds: must be 2592000 or less"),
        ({"max_tokens": 1.5}, "max_tokens: must be a whole number"),
        ({"max_tokens": -1}, "max_tokens: must be more than 0"),
        ({"deadline_at": "tomorrow"}, "deadline_at: must be a time such as 2026-01-31T06:00:00Z"),
        ({"deadline_at": "2026-01-31T06:00:00"}, "deadline_at needs a time zone, such as 2026-01-31T06:00:00Z"),
        ({"related_files": ["a", "../b"]}, "related_files: '../b' leaves the repository"),
        ({"branch_name": "a..b"}, "branch_name: not a branch name git takes: it has '..', '@{' or '//'"),
        (
            {"base_branch": "-x"},
            "base_branch: not a branch name git takes: it has a '/' or '-' at the start, or a '/' or ",
        ),
        ({"metadata": []}, "metadata: must be a mapping of names to values, not a list"),
        ({"repo_url": 5}, "repo_url: must be text, not a number"),
    ],
)
def test_each_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    (found,) = problems(tmp_path, GOOD | change)
    assert found.startswith(problem)


@pytest.mark.parametrize("field", ["task_id", "spec_name", "title", "description"])
def test_each_required_field_is_missed(tmp_path: Path, field: str) -> None:
    assert problems(tmp_path, {name: value for name, value in GOOD.items() if name != field}) == [
        f"{field}: is required"
    ]


def test_a_task_needs_a_repository_or_a_folder(tmp_path: Path) -> None:
    without = {name: value for name, value in GOOD.items() if name != "repo_url"}
    assert problems(tmp_path, without) == ["one of repo_url (or metadata.repo_url) and slot_path is required"]
    assert load_task(written(tmp_path, without | {"slot_path": "/x"})).task.slot_path == "/x"


def test_every_problem_is_listed_and_a_misspelt_name_explained(tmp_path: Path) -> None:
    content = {"task_id": 1, "spec_name": "s", "tittle": "t", "description": "", "repo_url": "x", "zebra": 1}
    assert problems(tmp_path, content) == [
        "task_id: must be text, not a number",
        "title: is required",
        "description: must not be empty",
        "tittle: is not known; did you mean 'title'?",
    ]


def test_no_value_is_repeated(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD | {"env": {"TOKEN": ["hunter2-hunter2"]}, "max_tokens": "hunter2-hunter2"})
    assert len(found) == 2
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        ("", "task.json", "the file is empty"),
        ("5", "task.json", "the file must hold a mapping (a task) or a list of them"),
        ("[]", "task.json", "the file must hold a mapping (a task) or a list of them"),
        ("just text", "task.yaml", "the file must hold a mapping (a task) or a list of them"),
        (
            "{",
            "task.json",
            "the file is not JSON: Expecting property name enclosed in double quotes (line 1, column 2)",
        ),
        ('{"title": "a", "title": "b"}', "task.json", "the file has the key 'title' twice"),
        ("title = 'x'", "task.toml", "the file is TOML: task files are JSON or YAML"),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, content: str, name: str, problem: str) -> None:
    assert problems(tmp_path, content, name) == [problem]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidTask) as caught:
        load_tasks(tmp_path / "gone.json")
    assert str(caught.value) == f"task file {tmp_path / 'gone.json'} is not valid:\n  the file does not exist"


def test_a_list_holds_several_tasks(tmp_path: Path) -> None:
    path = written(tmp_path, [GOOD, GOOD | {"task_id": "1.2", "zebra": 1}])
    loaded = load_tasks(path)
    assert [one.task.task_id for one in loaded] == ["1.1", "1.2"]
    assert loaded[1].warnings == (f"task file {path}[1]: the key 'zebra' is not known",)
    assert len(load_tasks(written(tmp_path, [GOOD], "one.json"))) == 1
    with pytest.raises(InvalidTask, match="holds 2 tasks where one is expected"):
        load_task(path)


def test_problems_in_a_list_name_the_task(tmp_path: Path) -> None:
    content = [GOOD, 5, GOOD | {"task_id": "2", "test_commands": [1]}, GOOD]
    assert problems(tmp_path, content) == [
        "[1]: must be a mapping of names to values",
        "[2].test_commands[0]: must be text, not a number",
        "[3]: is the same task as [0]: repository, spec and id are equal",
    ]


# --- playbooks ---

BOOK = "steps:\n- {name: tests, run: pytest -q, when: \"exists('a.py')\"}\n"


def test_a_playbook_of_the_users_own_is_read_with_the_task_and_kept_in_it(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    for path in ("./books/play.yaml", str(tmp_path / "books" / "play.yaml")):
        (tmp_path / "books" / "play.yaml").write_text(BOOK)
        task = load_task(written(tmp_path, GOOD | {"playbook_path": path})).task
        assert task.playbook is not None and [step.name for step in task.playbook.steps] == ["tests"]
        (tmp_path / "books" / "play.yaml").unlink()
        assert task.playbook.steps[0].run == "pytest -q"


def test_a_playbook_in_the_repository_is_left_for_the_run_to_read(tmp_path: Path) -> None:
    (tmp_path / "play.yaml").write_text(BOOK)
    assert load_task(written(tmp_path, GOOD | {"playbook_path": "play.yaml"})).task.playbook is None


def test_a_playbook_can_stand_in_the_task(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, GOOD | {"playbook": {"steps": [{"name": "a", "run": "b"}]}})).task
    assert task.playbook is not None
    # As a task set keeps it, or the journal.
    assert type(task).model_validate(task.model_dump(mode="json")) == task
    assert problems(tmp_path, GOOD | {"playbook": {"steps": [{"name": "a"}]}}) == ["playbook.steps[0].run: is required"]
    both = {"playbook": {"steps": [{"name": "a", "run": "b"}]}, "playbook_path": "play.yaml"}
    assert "give playbook or playbook_path, not both" in str(problems(tmp_path, GOOD | both))


def test_every_problem_of_a_users_playbook_is_named_before_a_run_exists(tmp_path: Path) -> None:
    (tmp_path / "play.yaml").write_text("colour: blue\nsteps:\n- {name: a, run: b, retries: often}\n")
    found = problems(tmp_path, GOOD | {"playbook_path": "./play.yaml"})
    assert sorted(found) == [
        "playbook_path: colour: is not known",
        "playbook_path: steps[0].retries: must be a whole number",
    ]
    assert problems(tmp_path, GOOD | {"playbook_path": "./none.yaml"}) == [
        "playbook_path: the file does not exist",
    ]


def test_values_that_no_user_wrote_name_no_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "play.yaml").write_text(BOOK)
    with pytest.raises(InvalidTask, match="must lie in the repository"):
        task_from(GOOD | {"playbook_path": str(tmp_path / "play.yaml")})
