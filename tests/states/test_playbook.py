"""Playbooks: what a step may say, and how the repository is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from necrocode.states.plan import Looks, Plan, PlannedStep, matches, plan_of
from necrocode.states.playbook import Playbook, is_outside
from necrocode.states.task import TaskContext
from necrocode.validation import problems_of

STEP: dict[str, Any] = {"name": "tests", "run": "pytest -q"}


def problems(*steps: Any, **more: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Playbook.model_validate({"steps": list(steps), **more})
    return [f"{problem.field}: {problem.message}" for problem in problems_of(caught.value)]


def test_a_step_with_everything() -> None:
    step = {
        **STEP,
        "when": "exists('pyproject.toml')",
        "timeout_seconds": 600,
        "retries": 1,
        "fail_fast": False,
        "allow_failure": True,
        "junit": "reports/*.xml",
    }
    (read,) = Playbook.model_validate({"name": "python", "steps": [step]}).steps
    assert read.model_dump() == {**step, "junit": ["reports/*.xml"], "timeout_seconds": 600.0}


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"name": "x"}, "steps[0].run: is required"),
        ({**STEP, "run": "  "}, "steps[0].run: must not be empty"),
        ({**STEP, "run": 3}, "steps[0].run: must be text, not a number"),
        ({**STEP, "name": "9 lives"}, "steps[0].name: String should match"),
        ({**STEP, "retries": True}, "steps[0].retries: must be a number, not true or false"),
        ({**STEP, "retries": -1}, "steps[0].retries: must be 0 or more"),
        ({**STEP, "retries": 10_000}, "steps[0].retries: must be 20 or less"),
        ({**STEP, "timeout_seconds": 0}, "steps[0].timeout_seconds: must be more than 0"),
        ({**STEP, "fail_fast": "maybe"}, "steps[0].fail_fast: must be true or false"),
        ({**STEP, "junit": "/etc/*.xml"}, "steps[0].junit[0]: '/etc/*.xml' must be a relative pattern"),
        ({**STEP, "junit": "../*.xml"}, "steps[0].junit[0]: '../*.xml' must be a relative pattern"),
        ({**STEP, "condition": "x"}, "steps[0].condition: is not known"),
        ({**STEP, "when": "__import__('os')"}, "steps[0].when: only exists"),
        ({**STEP, "when": "branch == 'main'"}, "steps[0].when: 'branch' is not known"),
        ("pytest", "steps[0]: must be a mapping of names to values"),
    ],
)
def test_what_is_wrong_with_a_step_is_named_with_its_place(step: Any, problem: str) -> None:
    assert any(each.startswith(problem) for each in problems(step)), problems(step)


def test_every_problem_is_listed() -> None:
    found = problems({"name": "a"}, {"name": "b", "run": "x", "retries": "often"}, colour="blue")
    assert len(found) == 3


def test_names_are_given_once_and_conditions_ask_after_earlier_steps_only() -> None:
    (found,) = problems(
        {**STEP, "when": "steps.later.passed"}, STEP, {"name": "later", "run": "x", "when": "steps.later.passed"}
    )
    assert "steps[1].name: 'tests' is the name of an earlier step, too" in found
    assert "steps[0].when: there is no earlier step 'later'" in found
    assert "steps[2].when: there is no earlier step 'later'" in found


def test_a_playbook_has_steps_and_not_too_many() -> None:
    assert problems() and problems(*({"name": f"s{n}", "run": "x"} for n in range(51)))


@pytest.mark.parametrize("path", ["/a/b.yaml", "./b.yaml", "../b.yaml", "~/b.yaml", "."])
def test_a_path_of_the_users_own_is_told_by_how_it_begins(path: str) -> None:
    assert is_outside(path)
    assert not is_outside("ci/play.yaml") and not is_outside(".ci/play.yaml")


# --- how the repository is asked ---


@dataclass
class Files:
    """A tree."""

    contents: dict[str, bytes]

    def paths(self, tree: str) -> Sequence[str]:
        del tree
        return list(self.contents)

    def content(self, tree: str, path: str, *, max_bytes: int) -> bytes | None:
        del tree
        found = self.contents.get(path)
        return found if found is not None and len(found) <= max_bytes else None


LOOKS = Looks(
    Files(
        {
            "package.json": b'{"scripts": {"test": "jest", "n": 3}, "list": []}',
            "deep.json": b"[" * 100_000,
            "pyproject.toml": b"[tool.x]\ny = true\n",
            "Makefile": b"tested := 1\ntest: all\ncheck :: all\nvar := 2\n",
            "src/tests/test_a.py": b"",
            "big.txt": b"needle" * 100_000,
        }
    ),
    "tree",
)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("exists('package.json')", True),
        ("exists('src/tests') and exists('src/')", True),
        ("exists('src/test')", False),
        ("exists('test_*.py')", True),
        ("exists('*.rb')", False),
        ("contains('Makefile', 'check')", True),
        ("contains('none', 'check') or contains('big.txt', 'needle')", False),
        ("field('package.json', 'scripts.test') == 'jest' and field('package.json', 'scripts.n') == '3'", True),
        ("field('pyproject.toml', 'tool.x.y') == 'true'", True),
        ("field('package.json', 'scripts.test.deeper') == '' and field('package.json', 'list.x') == ''", True),
        ("field('deep.json', 'a') == '' and field('none.json', 'a') == '' and field('Makefile', 'a') == ''", True),
        ("defines('Makefile', 'test') and defines('Makefile', 'check')", True),
        ("defines('Makefile', 'tested') or defines('Makefile', 'var') or defines('none', 'x')", False),
    ],
)
def test_a_repository_is_asked_for_what_it_was_before(condition: str, holds: bool) -> None:
    assert LOOKS.holds(condition) is holds


def test_patterns_are_as_in_a_gitignore() -> None:
    assert matches("*.py", ["a/b.py"]) and matches("src/", ["src/a"]) and not matches("/b.py", ["a/b.py"])


# --- the plan ---


def test_a_plan_is_read_back_as_it_was_recorded() -> None:
    steps = (PlannedStep("a"), PlannedStep("b", "name", "attempt", 5.0, 2, False, True, ("*.xml",)))
    plan = Plan(steps, "playbook", "mine", "forgive", True, ((("exists", "x"), True), (("field", "a", "b"), "c")))
    task = TaskContext(task_id="1", spec_name="s", title="t", description="d", repo_url="r")
    assert plan_of({"plan": plan.as_json()}, task) == plan


def test_a_run_of_an_earlier_release_is_tested_by_its_tasks_commands() -> None:
    task = TaskContext(
        task_id="1", spec_name="s", title="t", description="d", repo_url="r", test_commands=["a"], fail_fast=False
    )
    assert plan_of({}, task).steps == (PlannedStep("a", fail_fast=False),)
