"""The mode for endpoints that hold a model to a schema and know no tools: one JSON object an answer, one action."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from necrocode.coder.tools.offer import TOOLS, Malformed, loads_document, parse

_SHAPE = 'Answer with one JSON object: {"thought": "...", "action": {"tool": "...", "arguments": {...}}}.'


def _schema() -> Mapping[str, Any]:
    actions = []
    for tool in TOOLS.values():
        function = tool.as_function()["function"]
        actions.append(
            {
                "type": "object",
                "properties": {
                    "tool": {"type": "string", "enum": [tool.name]},
                    "arguments": {**function["parameters"], "additionalProperties": False},
                },
                "required": ["tool", "arguments"],
                "additionalProperties": False,
            }
        )
    return {
        "type": "object",
        # in this order, so that a model that is held to it thinks before it acts
        "properties": {"thought": {"type": "string", "maxLength": 600}, "action": {"anyOf": actions}},
        "required": ["thought", "action"],
        "additionalProperties": False,
    }


#: A union of the tools.
RESPONSE_FORMAT: Mapping[str, Any] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": _schema()}}


def read_action(text: str) -> tuple[str, dict[str, Any]]:
    """The tool that an answer wants to use, and its checked arguments. :class:`Malformed` says what is wrong with it.

    A bare action is taken too, and the names of OpenAI's own form.
    """
    document = loads_document(text)
    action = document.get("action", document) if isinstance(document, dict) else None
    if not isinstance(action, dict):
        raise Malformed(f"The answer names no action. {_SHAPE}")
    name = action.get("tool") or action.get("name")
    if not isinstance(name, str):
        raise Malformed(f"The action names no tool. {_SHAPE}")
    arguments = action.get("arguments")
    return name, parse(name, arguments if isinstance(arguments, str) else json.dumps(arguments or {}))
