"""Calls of tools as a model makes them: checked, and as they stand in the conversation afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from necrocode.coder.tools.offer import Malformed, parse
from necrocode.coder.tools.written_edits import edit_in_command
from necrocode.coder.transcript import canonical

_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class Call:
    """A call that waits for its turn. ``error`` instead of arguments: it cannot be carried out, and says why."""

    #: Empty where the answer had no tool calls, but named what is to be done in its text.
    id: str
    name: str
    arguments: Mapping[str, Any]
    error: str = ""
    #: How the model named it, where that is another name.
    said: str = ""

    @classmethod
    def checked(cls, identity: str, made: Mapping[str, Any], *, cut: bool, whole_patches: bool) -> Call:
        """The call that a recorded one is; ``cut``: the answer ended in the middle of it."""
        try:
            if cut:
                # never repaired: a file would be written by half
                _strictly(made["arguments"])
            arguments = parse(made["name"], made["arguments"])
            name, arguments = meant(made["name"], arguments) if whole_patches else (made["name"], arguments)
            return cls(identity, name, arguments, said=made["name"])
        except Malformed as error:
            return cls(identity, made["name"], {}, error=str(error))

    def as_said(self, written: str) -> dict[str, Any]:
        """In the message of the model's that made it; ``written`` are its arguments as the model wrote them."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", self.said or self.name)[:64] or "unnamed"
        return {"id": self.id, "type": "function", "function": {"name": name, "arguments": self._sent(written)}}

    def _sent(self, written: str) -> str:
        """Always a JSON object, since some endpoints refuse what is not."""
        try:
            if isinstance(json.loads(written), dict):
                return written
        except (ValueError, RecursionError):
            if not self.error:
                return canonical(self.arguments)
        return canonical({"malformed": written[:_EXCERPT]})


def meant(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The call that a call stands for: a patch, where a command is one."""
    edit = edit_in_command(arguments["command"]) if name == "bash" else None
    return edit or (name, arguments)


def without_thoughts(text: str) -> str:
    """``text`` without the thoughts that some models write before their answer, between ``<think>`` and ``</think>``.

    They are recorded with the answer; neither its reader nor the model is shown them again.
    """
    return re.sub(r"\A\s*<think>.*?(</think>\s*|\Z)", "", text, flags=re.DOTALL)


def _strictly(arguments: str) -> None:
    try:
        json.loads(arguments)
    except ValueError:
        raise Malformed(
            "Your answer was cut at its longest length, so this call was not made. "
            "Write less at once: several small edits."
        ) from None
