"""Conditions: what they can ask, and that nothing else of Python is among them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.states.conditions import Facts, check, evaluate

STEPS: Mapping[str, Mapping[str, bool | int]] = {
    "lint": {"passed": True, "failed": False, "skipped": False, "exit_code": 0},
    "unit-tests": {"passed": False, "failed": True, "skipped": False, "exit_code": 3},
}
FACTS = Facts(
    functions={
        "exists": lambda path: path == "setup.py",
        "contains": lambda path, text: (path, text) == ("setup.py", "pytest"),
        "field": lambda path, name: "jest" if (path, name) == ("package.json", "scripts.test") else "",
        "defines": lambda path, target: (path, target) == ("Makefile", "test"),
        "changed": lambda pattern: pattern == "*.py",
    },
    steps=STEPS,
    env={"CI": "1"},
    attempt=2,
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("exists('setup.py')", True),
        ("not exists('setup.py')", False),
        ("contains('setup.py', 'pytest') and defines('Makefile', 'test')", True),
        ("field('package.json', 'scripts.test') != ''", True),
        ("changed('*.py') or changed('*.js')", True),
        ("steps.lint.passed and steps.lint.exit_code == 0", True),
        ("steps['unit-tests'].failed and not steps['unit-tests']['skipped']", True),
        ("steps['unit-tests'].exit_code in [2, 3]", True),
        ("attempt > 1", True),
        ("attempt == 0", False),
        ("env.CI == '1'", True),
        ("env.CI not in ('0', '1')", False),
        ("env.NOT_SET == ''", True),
        ("-1 < attempt <= 2", True),
        ("False or True", True),
    ],
)
def test_what_a_condition_can_ask(text: str, holds: bool) -> None:
    assert evaluate(text, FACTS) is holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("__import__('os').system('true')", "can be called"),
        ("__import__('os')", "can be called"),
        ("open('/etc/passwd')", "can be called"),
        ("().__class__.__bases__", "plain name"),
        ("steps.lint.__class__", "plain name"),
        ("steps.__class__.passed", "plain name"),
        ("env.__init__", "plain name"),
        ("exists.__globals__", "plain name"),
        ("steps.lint.duration", "of a step there are"),
        ("steps.lint", "steps.NAME.FIELD"),
        ("steps", "steps.NAME.passed"),
        ("env", "env.NAME"),
        ("exists", "must be called"),
        ("exists()", "takes 1 quoted text"),
        ("exists('')", "takes 1 quoted text"),
        ("exists(path='x')", "takes 1 quoted text"),
        ("exists(exists('x'))", "takes 1 quoted text"),
        ("exists(env.HOME)", "takes 1 quoted text"),
        ("exists('/etc/passwd')", "leaves the repository"),
        ("exists('a/../../b')", "leaves the repository"),
        ("branch == 'main'", "'branch' is not known"),
        ("2 ** 9999 > 1", "BinOp"),
        ("'a' * 99999 == ''", "BinOp"),
        ("[x for x in 'abc']", "ListComp"),
        ("lambda: 1", "Lambda"),
        ("f'{attempt}' == '1'", "JoinedStr"),
        ("(attempt := 3)", "NamedExpr"),
        ("attempt is 1", "Is"),
        ("1.5 < attempt", "whole numbers"),
        ("None", "None"),
        ("attempt ==", "cannot be read"),
        ("", "cannot be read"),
        ("attempt\n== 1", "control character"),
        ("'\\x41' == 'A'", "backslash"),
        ("(" * 300 + "1" + ")" * 199, "cannot be read"),
        ("not " * 200, "longer than 500"),
    ],
)
def test_what_is_no_condition_is_refused_when_it_is_read(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(text)
    with pytest.raises(ValueError):
        evaluate(text, FACTS)


def test_a_comparison_that_makes_no_sense_is_an_error_of_the_condition() -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        evaluate("attempt < 'two'", FACTS)


def test_a_condition_says_what_it_asks_after() -> None:
    found = check("exists('a') and (steps.one.passed or steps['two'].skipped) and contains('b', 'c') and changed('*')")
    assert found.steps == {"one", "two"}
    assert found.calls == {("exists", "a"), ("contains", "b", "c"), ("changed", "*")}


def test_the_longest_condition_is_read_at_once() -> None:
    began = time.monotonic()
    assert evaluate(" or ".join(["attempt"] * 45), FACTS)
    assert evaluate("not " * 120 + "attempt", FACTS)
    assert time.monotonic() - began < 20


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("attempsxi.()[]'\"=<> ,notrad01", max_size=60))
def test_no_text_does_anything_but_hold_or_not_or_be_refused(text: str) -> None:
    try:
        checked = check(text)
    except ValueError:
        return
    if checked.steps <= STEPS.keys():
        try:
            assert evaluate(text, FACTS) in (True, False)
        except ValueError as error:
            assert "makes no sense" in str(error)
