"""What is offered to the model: names, parameters, and the checking of the arguments it sends."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool."""

    name: str
    type: type
    about: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    about: str
    parameters: tuple[Parameter, ...]

    def as_function(self) -> dict[str, Any]:
        """The tool in OpenAI's function form."""
        words = {str: "string", int: "integer", bool: "boolean"}
        properties = {
            entry.name: {"type": words[entry.type]} | ({"description": entry.about} if entry.about else {})
            for entry in self.parameters
        }
        required = [entry.name for entry in self.parameters if entry.required]
        schema = {"type": "object", "properties": properties, "required": required}
        return {"type": "function", "function": {"name": self.name, "description": self.about, "parameters": schema}}

    def signature(self) -> str:
        """``name(a, b?)``, for messages."""
        return f"{self.name}({', '.join(entry.name + '?' * (not entry.required) for entry in self.parameters)})"


class Malformed(Exception):
    """A call that cannot be carried out as it was written: the message tells the model how to write it."""


_PATH = Parameter("path", str, "relative to the repository's root")

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "bash",
            "Run a shell command at the repository's root and get its output and exit code. "
            "Every call is a new shell; stdin is closed; what still runs at its end is killed.",
            (Parameter("command", str), Parameter("timeout_seconds", int, required=False)),
        ),
        Tool(
            "read_file",
            "Show a text file with line numbers, or the names in a directory.",
            (_PATH, Parameter("start_line", int, required=False), Parameter("end_line", int, required=False)),
        ),
        Tool(
            "edit_file",
            "Replace old_text, which must stand exactly once in the file, by new_text.",
            (
                _PATH,
                Parameter("old_text", str, "exactly as in the file, without line numbers"),
                Parameter("new_text", str),
                Parameter("replace_all", bool, "replace every occurrence", required=False),
            ),
        ),
        Tool("write_file", "Create a file or replace all of it.", (_PATH, Parameter("content", str))),
        Tool(
            "search",
            "Find lines that match a Python regular expression. Files ignored by git are left out.",
            (Parameter("pattern", str), Parameter("path", str, "a file or directory", required=False)),
        ),
        Tool("finish", "Say that the task is done. Ends your work.", (Parameter("summary", str, "what you changed"),)),
    )
}


def parse(name: str, arguments: str) -> dict[str, Any]:
    """The checked arguments of a call.

    What is unambiguous is repaired: a code fence around the JSON, trailing commas, raw line ends in strings, Python's
    quotes, JSON in a JSON string, numbers and booleans in quotes. An argument is never guessed, and text that was cut
    is never completed. :class:`Malformed` otherwise.
    """
    tool = TOOLS.get(name)
    if tool is None:
        offered = ", ".join(entry.signature() for entry in TOOLS.values())
        raise Malformed(f"There is no tool {name!r}. The tools are: {offered}.")
    given = _loads(arguments)
    if not isinstance(given, dict):
        raise Malformed(f"The arguments of {name} are not a JSON object. Call {tool.signature()}.")
    known = {entry.name: entry for entry in tool.parameters}
    unknown = sorted(set(given) - set(known))
    # null says the same as leaving an optional argument out
    given = {key: value for key, value in given.items() if value is not None}
    missing = [entry.name for entry in tool.parameters if entry.required and entry.name not in given]
    if unknown or missing:
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"no such argument: {', '.join(unknown)}"] if unknown else []
        raise Malformed(f"{name}: {'; '.join(wrong)}. Call {tool.signature()}.")
    return {key: _typed(name, known[key], value) for key, value in given.items()}


def loads_document(text: str) -> Any:
    """The JSON document in a model's answer, perhaps fenced or with words around it. :class:`Malformed` if none."""
    for candidate in (text, _between_braces(text)):
        if candidate:
            try:
                return _loads(candidate)
            except Malformed:
                continue
    raise Malformed("The answer holds no JSON document.")


def _loads(text: str) -> Any:
    text = text.strip()
    if not text or text == "null":
        return {}
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?\s*```", text, re.DOTALL)
    plain = fenced[1].strip() if fenced else text
    for attempt in (_strictly, _loosely, _without_trailing_commas, _as_python):
        try:
            value = attempt(plain)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, str) and value.lstrip().startswith("{"):
            return _loads(value)
        return value
    try:
        json.loads(plain)
    except ValueError as error:
        raise Malformed(f"The arguments are not valid JSON: {error}.") from None
    except RecursionError:
        pass
    raise Malformed("The arguments are not valid JSON: they are nested too deeply.")


def _strictly(text: str) -> Any:
    return json.loads(text)


def _loosely(text: str) -> Any:
    return json.loads(text, strict=False)


def _without_trailing_commas(text: str) -> Any:
    # strings are matched first, so that a comma inside one is left alone
    pattern = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
    return json.loads(pattern.sub(lambda match: match[1] or "", text), strict=False)


def _as_python(text: str) -> Any:
    if not (text.startswith("{") and text.endswith("}")) or len(text) > 100_000:
        raise ValueError("not a dictionary")
    if re.search(r"""\\[^nrt\\'"]""", text):
        raise ValueError("an escape that JSON and Python may read differently")
    value = ast.literal_eval(text)
    json.dumps(value)  # a set or bytes is no JSON: ValueError or TypeError
    return value


def _between_braces(text: str) -> str:
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else ""


def _typed(tool: str, parameter: Parameter, value: Any) -> Any:
    wanted = parameter.type
    if wanted is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if wanted is int and isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,9}\s*", value):
        return int(value)
    if wanted is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    words = {str: "a string", int: "an integer", bool: "true or false"}
    raise Malformed(f"{tool}: {parameter.name} must be {words[wanted]}.")
