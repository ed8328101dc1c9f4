"""Cassettes: the model's answers of runs, taken out of the journal as a script that can be played again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from necrocode.drafts import replace_file
from necrocode.engine.journal import Journal
from necrocode.errors import InvalidInput, Problem
from necrocode.scripted.script import Script

_REFUSALS: Mapping[str, Mapping[str, str]] = {
    "tools": {"message": "this model does not support tool calling"},
    "format": {"message": "response_format is not supported"},
    "context": {"message": "the context length is exceeded", "code": "context_length_exceeded"},
}
"""What an endpoint says that will not take something, by what the journal calls it."""


def cassette(journal: Journal, run_ids: Sequence[str]) -> dict[str, Any]:
    """The recorded answers of these runs, a conversation each, told apart by the titles of their tasks.

    Secrets are masked, as everything in the journal is. A conversation that the model never answered has no answers.
    """
    conversations = [_conversation(journal, run_id, alone=len(run_ids) == 1) for run_id in run_ids]
    return {"model": "replayed", "conversations": conversations}


def save(path: Path, document: Mapping[str, Any]) -> None:
    """Write a cassette, whole or not at all. Raises ``OSError``."""
    replace_file(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(), mode=0o644)


def load(path: Path) -> Script:
    """The script in a cassette. Raises :class:`InvalidInput`."""
    try:
        return Script.load(path)
    except ValueError as error:
        raise InvalidInput(f"the cassette {path}", [Problem("", str(error))]) from None
    except OSError as error:
        raise InvalidInput(f"the cassette {path}", [Problem("", f"cannot be read: {error.strerror}")]) from None


def _conversation(journal: Journal, run_id: str, *, alone: bool) -> dict[str, Any]:
    answers: list[dict[str, Any]] = []
    faults: list[dict[str, Any]] = []
    for entry in journal.entries(run_id):
        if (entry.kind, entry.name) != ("outcome", "llm.chat"):
            continue
        result = journal.payload(entry).get("result")
        if not isinstance(result, dict):
            continue
        if "refused" in result:
            faults.append({"status": 400, "body": {"error": _REFUSALS[result["refused"]]}})
            continue
        answers.append(_answer(result) | ({"faults": faults} if faults else {}))
        faults = []
    title = journal.run(run_id).data["task"]["title"]
    return {"when": "" if alone else f"# Task: {title}\n", "answers": answers}


def _answer(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text": result.get("text", ""),
        "tool_calls": [{"name": call["name"], "arguments": call["arguments"]} for call in result.get("tool_calls", ())],
        "finish_reason": result["finish_reason"],
        "usage": {"prompt_tokens": result["tokens_in"], "completion_tokens": result["tokens_out"]},
    }
