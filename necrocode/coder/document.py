"""The mode without tool calling: one JSON document an answer, and the conversation rewritten to fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from necrocode.coder.tools.offer import Malformed, loads_document

_OPERATIONS = ("create", "modify", "delete")
_SHAPE = """Answer with {"read_files": [paths]} or with
{"code_changes": [{"file_path", "operation", "content"}], "explanation"}."""

#: For endpoints that can hold a model to a schema.
RESPONSE_FORMAT: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {
                "read_files": {"type": "array", "items": {"type": "string"}},
                "code_changes": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "file_path": {"type": "string"},
                            "operation": {"type": "string", "enum": list(_OPERATIONS)},
                            "content": {"type": "string"},
                        },
                        "required": ["file_path", "operation"],
                    },
                },
                "explanation": {"type": "string"},
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Document:
    """A checked document: operations as ``(tool, arguments)``, in order."""

    operations: tuple[tuple[str, dict[str, Any]], ...]
    explanation: str

    @property
    def changes(self) -> bool:
        """Whether it is meant to do the task, not only to look at files."""
        return any(name != "read_file" for name, _ in self.operations) or not self.operations


def is_document(text: str) -> bool:
    """Whether an answer is meant as a document of changes."""
    try:
        found = loads_document(text)
    except Malformed:
        return False
    return isinstance(found, dict) and bool({"code_changes", "read_files"} & set(found))


def read_document(text: str) -> Document:
    """The document in an answer. :class:`Malformed` says what is wrong with it."""
    document = loads_document(text)
    if not isinstance(document, dict) or not ({"code_changes", "read_files"} & set(document)):
        raise Malformed(f"The JSON document has neither code_changes nor read_files. {_SHAPE}")
    reads = document.get("read_files") or []
    changes = document.get("code_changes") or []
    if not isinstance(reads, list) or not isinstance(changes, list):
        raise Malformed(f"read_files and code_changes must be lists. {_SHAPE}")
    if not all(isinstance(path, str) for path in reads):
        raise Malformed("read_files must be a list of paths.")
    operations = [("read_file", {"path": path}) for path in reads]
    operations += [_operation(change, number) for number, change in enumerate(changes, 1)]
    return Document(tuple(operations), str(document.get("explanation") or ""))


def _operation(change: Any, number: int) -> tuple[str, dict[str, Any]]:
    where = f"code_changes, entry {number}"
    if not isinstance(change, dict):
        raise Malformed(f"{where} is not an object. {_SHAPE}")
    path, operation, content = change.get("file_path"), change.get("operation"), change.get("content")
    if not isinstance(path, str) or not path:
        raise Malformed(f"{where}: file_path is missing.")
    if operation not in _OPERATIONS:
        raise Malformed(f"{where}: operation must be one of {', '.join(_OPERATIONS)}.")
    if operation == "delete":
        return "delete_file", {"path": path}
    if not isinstance(content, str):
        raise Malformed(f"{where}: content must be the file's complete new text.")
    return "write_file", {"path": path, "content": content}


def as_plain(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``messages`` without tool calls and tool results, and no two of one role in a row: some chat templates insist."""
    plain: list[dict[str, Any]] = []
    for message in messages:
        role, text = str(message["role"]), str(message.get("content") or "")
        for call in message.get("tool_calls", ()):
            text += f"\n[{call['function']['name']} {call['function']['arguments']}]"
        if role == "tool":
            role = "user"
        if plain and plain[-1]["role"] == role:
            plain[-1]["content"] += f"\n\n{text.strip()}"
        else:
            plain.append({"role": role, "content": text.strip()})
    return plain
