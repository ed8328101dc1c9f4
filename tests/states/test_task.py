"""The task context: what is accepted, what is refused, and what is derived."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from necrocode.states.task import TaskContext, valid_branch

MINIMAL = {"task_id": "1", "spec_name": "s", "title": "t", "description": "d", "repo_url": "r"}


def task(**fields: Any) -> TaskContext:
    return TaskContext.model_validate({**MINIMAL, **fields})


@pytest.mark.parametrize("field", ["task_id", "spec_name", "title", "description"])
@pytest.mark.parametrize("value", [None, "", "   ", 7, ["x"]])
def test_a_required_field_must_be_text_that_says_something(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        task(**{field: value})

    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


def test_every_problem_is_listed_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        TaskContext.model_validate({"task_id": "", "max_tokens": 0, "env": {"1X": "y"}, "related_files": ["../x"]})

    assert {error["loc"][0] for error in caught.value.errors()} == {
        "task_id",
        "spec_name",
        "title",
        "description",
        "max_tokens",
        "env",
        "related_files",
    }


def test_a_repository_or_a_slot_path_is_required() -> None:
    with pytest.raises(ValidationError, match="one of repo_url"):
        task(repo_url=None)
    assert task(repo_url=None, slot_path="/somewhere").repository is None


def test_the_repository_may_stand_in_the_metadata() -> None:
    assert task(repo_url=None, metadata={"repo_url": "there"}).repository == "there"


def test_a_password_in_the_url_is_refused() -> None:
    with pytest.raises(ValidationError, match="password"):
        task(repo_url="https://me:secret@example.org/r.git")
    assert task(repo_url="https://me@example.org/r.git").repository


def test_a_deadline_needs_a_time_zone() -> None:
    with pytest.raises(ValidationError, match="time zone"):
        task(deadline_at="2026-01-01T00:00:00")
    assert task(deadline_at="2026-01-01T00:00:00Z").deadline_at


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "~/x"])
def test_related_files_stay_in_the_repository(path: str) -> None:
    with pytest.raises(ValidationError, match="leaves the repository"):
        task(related_files=[path])


def test_unknown_keys_are_kept_and_named() -> None:
    assert task(test_comands=["x"], zeta=1).unknown_keys == ["test_comands", "zeta"]


def test_a_task_survives_the_journal() -> None:
    one = task(env={"A": "b"}, deadline_at="2026-01-01T00:00:00Z", zeta=[1])

    assert TaskContext.model_validate(one.model_dump(mode="json")) == one


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_the_derived_branch_is_always_one_that_git_takes(spec: str, number: str) -> None:
    branch = task(spec_name=spec[:200], task_id=number[:200]).branch

    assert valid_branch(branch) == branch


GOOD = ("a", "a/b", "a.b", "x" * 200, "ä", "a-b_c", "@a")
BAD = ("-a", "a..b", "a b", "a~", "a/", "/a", "a//b", "a.lock", ".a", "a/.b", "a.", "a@{b", "a\\b", "a?", "a[", "a^")


@pytest.mark.parametrize("name", [*GOOD, *BAD, "a:b", "a\x7f", "a.lock/b"])
def test_branch_names_are_judged_as_git_does(name: str) -> None:
    git = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True, check=False)

    try:
        valid_branch(name)
    except ValueError:
        assert git.returncode != 0
    else:
        assert git.returncode == 0
