"""Conditions of a playbook's steps: a small expression language, checked when it is read, evaluated by simpleeval.

Written like Python's own conditions, and nothing else of Python: ``and``, ``or``, ``not``, comparisons, ``in``, text,
numbers, lists, and these names:

====================================  ============================================================================
``exists('path')``                    whether the repository had the file or folder before the coder worked
``contains('path', 'text')``          whether that file held the text
``field('path', 'scripts.test')``     a field of that JSON or TOML file as text, empty if there is none
``defines('Makefile', 'test')``       whether that Makefile has such a target
``changed('pattern')``                whether the coder's work changed such a file (patterns as in ``.gitignore``)
``steps.NAME.passed``                 of an earlier step; also ``.failed``, ``.skipped``, ``.exit_code`` (-1: none)
``attempt``                           of the coder, from 1; 0 in the run before the change
``env.NAME``                          of the task's own ``env``, empty if it is not there
====================================  ============================================================================

Nothing can be called but those functions, with texts; nothing can be computed with, so nothing can grow.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 500
"""Characters of a condition."""

FUNCTIONS: Mapping[str, int] = {"exists": 1, "contains": 2, "field": 2, "defines": 2, "changed": 1}
"""How many texts each takes."""
OF_A_STEP = ("passed", "failed", "skipped", "exit_code")
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_PLAIN = (ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Compare, ast.List, ast.Tuple, ast.Load)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that makes sense by itself."""

    text: str
    #: The steps that it asks after.
    steps: frozenset[str]
    #: The calls that it may make: name and texts.
    calls: frozenset[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions may ask after."""

    #: What a call gives, by its name.
    functions: Mapping[str, Callable[..., bool | str]] = field(default_factory=dict)
    #: By step: :data:`OF_A_STEP`.
    steps: Mapping[str, Mapping[str, bool | int]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0


def check(text: str) -> Condition:
    """``text`` as a condition. ``ValueError``: what is wrong with it."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the condition is longer than {MAX_LENGTH} characters")
    tree = _parsed(text)
    steps, calls = set[str](), set[tuple[str, ...]]()
    for node in _nodes(tree.body):
        if isinstance(node, ast.Call):
            calls.add(_call(node))
        elif (place := _place(node)) is not None and place[0] == "steps":
            steps.add(place[1])
    return Condition(text, frozenset(steps), frozenset(calls))


def evaluate(text: str, facts: Facts) -> bool:
    """Whether the condition holds. ``ValueError``: it makes no sense, such as comparing text with a number."""
    from simpleeval import EvalWithCompoundTypes, InvalidExpression

    check(text)
    evaluator = EvalWithCompoundTypes(
        operators=dict(_OPERATORS),
        functions=dict(facts.functions),
        names={
            "steps": _Table({name: _Table(step) for name, step in facts.steps.items()}),
            "env": _Table(facts.env, missing=""),
            "attempt": facts.attempt,
            "True": True,
            "False": False,
        },
    )
    try:
        return bool(evaluator.eval(text, previously_parsed=_parsed(text).body))
    except (InvalidExpression, TypeError, LookupError) as error:
        raise ValueError(f"the condition {text!r} makes no sense: {error}") from None


class _Table:
    """Values by name, which ``table.name`` and ``table['name']`` give; it has nothing else to reach."""

    __slots__ = ("_missing", "_values")

    def __init__(self, values: Mapping[str, object], missing: object = None) -> None:
        self._values, self._missing = values, missing

    def __getitem__(self, name: str) -> object:
        return self._values[name] if self._missing is None else self._values.get(name, self._missing)


def _parsed(text: str) -> ast.Expression:
    if "\\" in text or not text.isprintable():
        raise ValueError("the condition holds a backslash or a control character")
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"the condition cannot be read: {getattr(error, 'msg', None) or error}") from None


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a condition, each of a kind that may be there. ``ValueError``: another one."""
    yield node
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, str | int | bool):
            raise ValueError(
                f"{node.value!r} is nothing that a condition knows: use text, whole numbers, True or False"
            )
    elif isinstance(node, ast.Call):
        _call(node)
    elif isinstance(node, ast.Name):
        if node.id not in ("attempt",):
            raise ValueError(_unknown(node.id))
    elif _place(node) is None:
        if not isinstance(node, (*_PLAIN, *_OPERATORS)):
            raise ValueError(f"{type(node).__name__} is nothing that a condition may hold")
        for child in ast.iter_child_nodes(node):
            yield from _nodes(child)


def _unknown(name: str) -> str:
    if name in FUNCTIONS:
        return f"{name} must be called, such as {name}('…')"
    if name in ("steps", "env"):
        return f"{name} is asked for one thing: such as {'steps.NAME.passed' if name == 'steps' else 'env.NAME'}"
    return f"{name!r} is not known: there are {', '.join(FUNCTIONS)}, steps, attempt and env"


def _call(node: ast.Call) -> tuple[str, ...]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in FUNCTIONS:
        raise ValueError(f"only {', '.join(FUNCTIONS)} can be called" + (f", not {name!r}" if name else ""))
    texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if node.keywords or len(texts) != len(node.args) or len(texts) != FUNCTIONS[name] or not all(texts):
        raise ValueError(f"{name}() takes {FUNCTIONS[name]} quoted text{'s' * (FUNCTIONS[name] > 1)}")
    if texts[0].startswith(("/", "~")) or ".." in texts[0].split("/"):
        raise ValueError(f"{texts[0]!r} leaves the repository")
    return (name, *texts)


def _place(node: ast.AST) -> tuple[str, str] | None:
    """``('steps', NAME)`` for ``steps.NAME.field``, ``('env', NAME)`` for ``env.NAME``; ``None`` for anything else.

    ``ValueError``: it looks like one, and asks for what is not there.
    """
    if not isinstance(node, ast.Attribute | ast.Subscript):
        return None
    inner, last = node.value, _key(node)
    if isinstance(inner, ast.Name) and inner.id == "env":
        return "env", last
    if isinstance(inner, ast.Attribute | ast.Subscript) and isinstance(inner.value, ast.Name):
        if inner.value.id == "steps":
            if last not in OF_A_STEP:
                raise ValueError(f"of a step there are {', '.join(OF_A_STEP)}, not {last!r}")
            return "steps", _key(inner)
        raise ValueError(_unknown(inner.value.id))
    raise ValueError("only steps.NAME.FIELD and env.NAME have a '.' or '[…]'")


def _key(node: ast.Attribute | ast.Subscript) -> str:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node.slice, "value", None)
    if not isinstance(name, str) or name.startswith("_"):
        raise ValueError("what stands in '[…]' or after '.' must be a plain name")
    return name
