"""Kiro's tasks.md: what is read, what is refused, and that ticking a box changes nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.documents import UnreadableDocument
from necrocode.imports.imported import InvalidImport
from necrocode.imports.kiro import read_tasks, tick, tick_done
from necrocode.registry.tasksets import SetTask, problems, settled

TASKS = """# Implementation Plan

- [x] 1. Set up project structure
  - Create the folders
  - _Requirements: 1.1_

- [ ] 2. Implement the data models
- [ ] 2.1 Create the core models
  - Write the interfaces
    - with types
  - [ ] a box without a number is a detail
  - _Requirements: 1.2, 2, 9.9_

- [-] 2.2 Validate
- [ ]* 2.3 Write unit tests
  ```
  - [ ] 7. not a task
  # nor a heading
  ```
- [ ] 3. Wire it together
  - [ ] 3.1* Property tests
  - [ ] 3.2 The last bit

## Notes

- not a box
"""

REQUIREMENTS = """# Requirements

### Requirement 1: Accounts

**User Story:** As a user, I want 2. things

#### Acceptance Criteria

1. WHEN a user signs up THEN the system SHALL
   store the account
2. IF it exists THEN the system SHALL refuse

### Requirement 2

#### Acceptance Criteria
1. The system SHALL log
"""


def kiro(tmp_path: Path, text: str | bytes = TASKS, requirements: str | None = None) -> Path:
    folder = tmp_path / "repo" / ".kiro" / "specs" / "accounts"
    folder.mkdir(parents=True)
    path = folder / "tasks.md"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    if requirements is not None:
        (folder / "requirements.md").write_text(requirements, encoding="utf-8")
        (folder / "design.md").write_text("# Design\n")
    return path


def tasks_of(path: Path) -> dict[str, SetTask]:
    return {task.id: task for task in read_tasks(path).task_set.tasks}


def test_boxes_become_tasks_in_their_order(tmp_path: Path) -> None:
    imported = read_tasks(kiro(tmp_path))
    assert imported.task_set.spec_name == "accounts"
    assert [(task.id, task.title) for task in imported.task_set.tasks] == [
        ("1", "Set up project structure"),
        ("2", "Implement the data models"),
        ("2.1", "Create the core models"),
        ("2.2", "Validate"),
        ("2.3", "Write unit tests"),
        ("3", "Wire it together"),
        ("3.1", "Property tests"),
        ("3.2", "The last bit"),
    ]
    found = tasks_of(imported_path(tmp_path))
    assert [task.id for task in found.values() if task.state == "done"] == ["1"]
    assert [task.id for task in found.values() if task.is_optional] == ["2.3", "3.1"]
    assert [task.id for task in found.values() if task.is_group] == ["2", "3"]
    assert found["2.1"].description == (
        "- Write the interfaces\n  - with types\n- [ ] a box without a number is a detail"
    )
    assert found["2.2"].description == "Validate"
    assert "not a task" in found["2.3"].description


def imported_path(tmp_path: Path) -> Path:
    return tmp_path / "repo" / ".kiro" / "specs" / "accounts" / "tasks.md"


def test_each_waits_for_the_one_before_a_parent_for_its_parts_and_nobody_for_optional_ones(tmp_path: Path) -> None:
    found = tasks_of(kiro(tmp_path))
    assert {id: task.dependencies for id, task in found.items()} == {
        "1": (),
        "2": ("2.1", "2.2"),
        "2.1": ("1",),
        "2.2": ("2.1",),
        "2.3": ("2.2",),
        "3": ("3.2",),
        "3.1": ("2",),
        "3.2": ("2",),
    }
    assert problems(list(found.values())) == []


def test_a_parent_that_says_something_itself_is_a_task_of_its_own(tmp_path: Path) -> None:
    found = tasks_of(kiro(tmp_path, "- [ ] 1. Whole\n  - Do this, too\n  - [ ] 1.1 Part\n- [ ] 2. Next\n"))
    assert (found["1"].is_group, found["1"].dependencies, found["1.1"].dependencies) == (False, ("1.1",), ())
    assert found["2"].dependencies == ("1",)


def test_what_is_part_of_an_optional_task_is_optional(tmp_path: Path) -> None:
    found = tasks_of(kiro(tmp_path, "- [ ] 1. A\n- [ ]* 2. B\n  - [ ] 2.1 C\n    - [ ] 2.1.1 D\n- [ ] 3. E\n"))
    assert [task.id for task in found.values() if task.is_optional] == ["2", "2.1", "2.1.1"]
    assert found["3"].dependencies == ("1",)


def test_requirements_become_acceptance_criteria(tmp_path: Path) -> None:
    imported = read_tasks(kiro(tmp_path, requirements=REQUIREMENTS))
    found = {task.id: task.metadata for task in imported.task_set.tasks}
    assert found["1"]["acceptance_criteria"] == ["1.1 WHEN a user signs up THEN the system SHALL store the account"]
    assert found["2.1"]["acceptance_criteria"] == [
        "1.2 IF it exists THEN the system SHALL refuse",
        "2.1 The system SHALL log",
    ]
    assert found["2.2"]["acceptance_criteria"] == []
    assert found["1"]["related_files"] == [
        ".kiro/specs/accounts/design.md",
        ".kiro/specs/accounts/requirements.md",
    ]
    assert imported.warnings == ("line 8: requirements.md has no requirement '9.9'",)


def test_without_requirements_the_references_are_kept(tmp_path: Path) -> None:
    imported = read_tasks(kiro(tmp_path))
    assert imported.warnings == ()
    metadata = {task.id: task.metadata for task in imported.task_set.tasks}["2.1"]
    assert (metadata["acceptance_criteria"], metadata["requirements"]) == ([], ["1.2", "2", "9.9"])
    assert metadata["related_files"] == []


ODD = (
    "\ufeff# Plan\r\n\t- [ ] 1) Tabs\r\n\t\t* detail\r\n   + [X]  2.   Spaces  \r\n- [ ]3. Close\r\n"
    "- [x](link) 4. no\r\n"
)


def test_odd_indentation_crlf_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    found = tasks_of(kiro(tmp_path, ODD))
    assert [(task.id, task.title, task.state) for task in found.values()] == [
        ("1", "Tabs", "ready"),
        ("2", "Spaces", "done"),
        ("3", "Close", "ready"),
    ]
    assert found["1"].description == "* detail"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no check box"),
        ("# Plan\n\nNothing yet.\n1. A list\n", "holds no check box such as '- \\[ \\] 1. Title'"),
        ("- [ ] 1. A\n- [ ] Write it\n", "line 2: the check box needs a number"),
        ("- [ ] 1. A\n# B\n  - [ ] C\n", "line 3: the check box needs a number"),
        ("- [ ] 1.2 A\n- [ ] 2. B\n  - [ ] 1.2 C\n", "line 3: line 1 has the number 1.2 already"),
        (b"- [ ] 1. \xff\n", "is not UTF-8 text \\(byte 9\\)"),
    ],
)
def test_what_is_no_task_list_is_refused_by_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    path = kiro(tmp_path, text)
    with pytest.raises(InvalidImport, match=rf"task list {path} is not valid:\n  .*{words}"):
        read_tasks(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match="the file does not exist"):
        read_tasks(tmp_path / "tasks.md")


# --- ticking ---


@pytest.mark.parametrize("text", [TASKS, TASKS.replace("\n", "\r\n"), ODD, TASKS.rstrip("\n")])
def test_only_the_box_itself_is_changed(tmp_path: Path, text: str) -> None:
    path = kiro(tmp_path, text)
    path.chmod(0o640)
    tick(path, ["2.2", "3", "9"])
    before, after = text.encode(), path.read_bytes()
    changed = [place for place in range(len(before)) if before[place] != after[place]]
    assert len(before) == len(after)
    assert [after[place : place + 1] for place in changed] == [b"x"] * len(changed)
    ticked = {id for id, task in tasks_of(path).items() if task.state == "done"}
    assert ticked == {"1", "2.2", "3"} if "2.2" in text else {"2", "3"}
    assert len(changed) == (2 if "2.2" in text else 1)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_box_that_is_ticked_already_leaves_the_file_alone(tmp_path: Path) -> None:
    path = kiro(tmp_path)
    before = path.stat()
    tick(path, ["1"])
    assert path.stat() == before


def test_done_tasks_are_ticked_where_they_came_from_and_a_missing_file_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = kiro(tmp_path)
    found = tasks_of(path)
    gone = SetTask("5", "Gone", metadata={"source": {"format": "kiro", "path": str(tmp_path / "x.md"), "number": "5"}})
    odd = SetTask("6", "Odd", metadata={"source": "somewhere"})
    tick_done([gone, odd, found["2.1"], found["2.2"]])
    assert [task.id for task in tasks_of(path).values() if task.state == "done"] == ["1", "2.1", "2.2"]
    assert "the boxes of 5 are not ticked" in caplog.text
    with pytest.raises(UnreadableDocument):
        tick(tmp_path / "x.md", ["5"])


numbers = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
lines = st.builds(
    lambda indent, mark, star, number, end: f"{indent}- [{mark}]{star} {number} Title{end}",
    st.sampled_from(["", "  ", "\t", "      "]),
    st.sampled_from("x -"),
    st.sampled_from(["", "*"]),
    numbers,
    st.sampled_from(["\n", "\r\n", "\n\n  - detail\n", "\n```\n- [ ] 1. x\n```\n"]),
)


@given(st.lists(lines, min_size=1, max_size=8, unique_by=lambda line: re.findall(r"\] ?\*? ?([\d.]+) ", line)[0]))
def test_whatever_the_order_there_is_no_cycle_and_all_ends_done(
    tmp_path_factory: pytest.TempPathFactory, text: list[str]
) -> None:
    path = tmp_path_factory.mktemp("spec") / "tasks.md"
    path.write_bytes("".join(text).encode())
    tasks = list(tasks_of(path).values())
    assert problems(tasks) == []
    assert len(tasks) == len(text)
    tick(path, [task.id for task in tasks])
    assert {task.state for task in tasks_of(path).values()} == {"done"}
    assert settled(list(tasks_of(path).values())) == list(tasks_of(path).values())
