"""Task files that cannot be used: exit code 2 before a run exists, and nobody is told."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, SOLVE, Stage
from tests.necrocode.loopback import Response, serve

WRONG_FIELDS: list[tuple[str, Any]] = [
    ("task_id", None),
    ("task_id", ""),
    ("spec_name", 7),
    ("title", " "),
    ("description", ""),
    ("repo_url", ""),
    ("acceptance_criteria", "one"),
    ("acceptance_criteria[0]", [1]),
    ("dependencies", {}),
    ("required_skill", []),
    ("base_branch", "a..b"),
    ("branch_name", "-x"),
    ("branch_name", "has space"),
    ("slot_path", 3),
    ("slot_id", ""),
    ("setup_commands", "make"),
    ("test_commands[1]", ["true", ""]),
    ("env", ["A=1"]),
    ("env", {"1A": "x"}),
    ("pass_env", ["A=B"]),
    ("fail_fast", "perhaps"),
    ("timeout_seconds", 0),
    ("timeout_seconds", "long"),
    ("deadline_at", "tomorrow"),
    ("related_files", ["../secret"]),
    ("related_files", ["/etc/passwd"]),
    ("max_tokens", 0),
    ("max_tokens", 1.5),
    ("playbook_path", ""),
    ("metadata", "x"),
]


def test_each_wrong_field_is_named_nothing_is_created_and_nobody_is_told(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    good = json.loads(stage.task().read_text(encoding="utf-8"))
    tasks = [{**good, "task_id": str(place)} for place in range(len(WRONG_FIELDS))]
    for task, (field, value) in zip(tasks, WRONG_FIELDS, strict=True):
        task[field.partition("[")[0]] = value
    path = stage.root / "tasks.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    with serve(lambda _: Response(200, {})) as registry:
        done = stage.necrocode("run", path, TASK_REGISTRY_URL=registry.url)
        assert registry.requests == []
    assert done.code == 2, done.err
    named = [line.strip().split(":")[0] for line in done.err.splitlines()[1:]]
    for place, (field, _) in enumerate(WRONG_FIELDS):
        assert any(line.startswith(f"[{place}].{field}") for line in named), (place, field, done.err)
    assert stage.runs() == []
    assert model.requests == []
    assert done.out == ""


def test_every_problem_of_one_task_is_listed_with_its_field(stage: Stage) -> None:
    task = stage.task(spec_name=None, test_commands=["ok", 5], deadline_at="2026-01-01T00:00:00", tilte="x")
    done = stage.necrocode("run", task)
    assert done.code == 2
    assert str(task) in done.err
    for words in ("spec_name: is required", "test_commands[1]: must be text", "tilte: is not known"):
        assert words in done.err
    assert not stage.home.exists()


def test_a_task_without_a_repository_or_with_a_password_in_its_url_is_refused(stage: Stage) -> None:
    without = stage.necrocode("run", stage.task(repo_url=None))
    assert without.code == 2
    assert "repo_url" in without.err and "slot_path" in without.err
    password = stage.necrocode("run", stage.task(repo_url="https://me:hunter22secret@example.org/x.git"))
    assert password.code == 2
    assert "hunter22secret" not in password.err


def test_a_file_that_is_missing_or_no_task_ends_with_exit_code_2(stage: Stage) -> None:
    missing = stage.necrocode("run", stage.root / "no-such.json")
    assert missing.code == 2
    assert "no-such.json" in missing.err
    for name, content in (("broken.json", b'{"task_id": '), ("text.yaml", b"just words"), ("binary.json", b"\xff\x00")):
        (stage.root / name).write_bytes(content)
    # the good one before them is not begun either
    done = stage.necrocode("run", stage.task(), stage.root / "broken.json")
    assert done.code == 2
    assert "broken.json" in done.err
    assert stage.necrocode("run", stage.root / "text.yaml").code == 2
    assert stage.necrocode("run", stage.root / "binary.json").code == 2
    assert not stage.home.exists()


def test_unknown_keys_are_a_warning_that_names_them(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    task = stage.task(base_brnch="main", colour="blue", slot_id="slot-7")
    done = stage.necrocode("run", task)
    assert done.code == 0, done.err
    # what is known but has no effect is said, too
    assert "does not use 'slot_id' yet" in done.err
    assert "'base_brnch' is not known; did you mean 'base_branch'?" in done.err
    assert "'colour' is not known" in done.err
    assert BRANCH in stage.branches()


def test_the_same_task_twice_in_one_file_is_refused(stage: Stage) -> None:
    good = json.loads(stage.task().read_text(encoding="utf-8"))
    path = stage.root / "twice.json"
    path.write_text(json.dumps([good, good]), encoding="utf-8")
    done = stage.necrocode("run", path)
    assert done.code == 2
    assert "[1]" in done.err and "same task" in done.err
    assert not stage.home.exists()
