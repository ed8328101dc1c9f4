"""Pydantic's complaints in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from necrocode.errors import Problem

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_WORDS = {
    "missing": "is required",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "model_attributes_type": "must be a mapping of names to values",
    "path_type": "must be a path",
    "datetime_type": "must be a time such as 2026-01-31T06:00:00Z",
    "datetime_parsing": "must be a time such as 2026-01-31T06:00:00Z",
    "datetime_from_date_parsing": "must be a time such as 2026-01-31T06:00:00Z",
    "datetime_object_invalid": "must be a time such as 2026-01-31T06:00:00Z",
    "extra_forbidden": "is not known",
    "string_too_long": "must not be longer than {max_length} characters",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be one of {expected}",
    "value_error": "{error}",
}
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}


def problems_of(error: ValidationError, sources: Mapping[str, str] | None = None) -> list[Problem]:
    """Every complaint of ``error`` with its field, such as ``test_commands[1]``.

    ``sources`` says, by top-level field, where the value came from. Values themselves are never repeated: they may be
    secrets.
    """
    problems: dict[tuple[str, str], Problem] = {}
    for detail in error.errors(include_url=False, include_input=True):
        place = _place(detail["loc"])
        top = str(detail["loc"][0]) if detail["loc"] else ""
        problem = Problem(place, _words(detail), (sources or {}).get(top, ""))
        problems.setdefault((problem.field, problem.message), problem)
    return list(problems.values())


def _place(loc: tuple[int | str, ...]) -> str:
    place = ""
    for part in loc:
        if part == "[key]":
            continue
        if isinstance(part, int):
            place += f"[{part}]"
        else:
            place += f".{part}" if place else part
    return place


def _words(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "string_too_short":
        return "must not be empty"
    words = _WORDS.get(kind)
    if words is None:
        return detail["msg"]
    text = words.format_map({name: _bare(value) for name, value in detail.get("ctx", {}).items()})
    if kind.endswith("_type"):
        text += f", not {_kind_of(detail['input'])}"
    return text


def _bare(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _kind_of(value: Any) -> str:
    if value is None:
        return "empty"
    return _KINDS.get(type(value), f"a {type(value).__name__}")
