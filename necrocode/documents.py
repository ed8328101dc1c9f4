"""Documents that people write (JSON, YAML, TOML): read within bounds, strictly, with errors that name the place."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal

Format = Literal["json", "yaml", "toml"]

MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 50
_FORMATS: dict[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}


class UnreadableDocument(ValueError):
    """The document cannot be read as what it should be."""


def format_of(path: Path) -> Format | None:
    """The format that the extension of ``path`` stands for, ``None`` if it stands for none."""
    return _FORMATS.get(path.suffix.lower())


def read_bounded(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of ``path`` (``-``: standard input). Raises :class:`UnreadableDocument`, for a larger one too."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(max_bytes + 1)
        elif path.is_dir():
            raise UnreadableDocument("is a folder, not a file")
        else:
            with path.open("rb") as file:
                content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise UnreadableDocument("does not exist") from None
    except OSError as error:
        raise UnreadableDocument(f"cannot be read: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise UnreadableDocument(f"is larger than {max_bytes:,} bytes")
    return content


def parse(content: bytes, form: Format | None) -> Any:
    """The value that ``content`` stands for: dict with text keys, list, str, int, float, bool, None (YAML: also dates).

    Without a ``form``, content that begins like JSON is JSON and anything else YAML. UTF-8, or UTF-16 and UTF-32 with a
    byte order mark. Duplicate keys, YAML tags beyond the plain ones, expanding YAML aliases and numbers that are not
    finite are refused. Raises :class:`UnreadableDocument`.
    """
    text = _decoded(content)
    if not text.strip():
        raise UnreadableDocument("is empty")
    if form is None:
        form = "json" if text.lstrip()[0] in "{[" else "yaml"
    try:
        value = {"json": _json, "yaml": _yaml, "toml": _toml}[form](text)
        _bounded(value, MAX_DEPTH)
    except RecursionError:
        raise UnreadableDocument(f"is nested more than {MAX_DEPTH} levels deep") from None
    return value


def _decoded(content: bytes) -> str:
    encoding = "utf-8-sig"
    # UTF-32's mark begins with UTF-16's: the longer one is looked for first
    if content.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        encoding = "utf-32"
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableDocument(
            f"is not {encoding.removesuffix('-sig').upper()} text (byte {error.start}): save it as UTF-8"
        ) from None
    if "\0" in text:
        raise UnreadableDocument("holds NUL characters: it is no text file")
    return text


def _json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key, item in pairs:
            if key in value:
                raise UnreadableDocument(f"has the key {key!r} twice")
            value[key] = item
        return value

    def no_constant(name: str) -> Any:
        raise UnreadableDocument(f"holds {name}, which is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except UnreadableDocument:
        raise
    except json.JSONDecodeError as error:
        raise UnreadableDocument(f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError as error:
        raise UnreadableDocument(f"is not JSON: {error}") from None


def _toml(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableDocument(f"is not TOML: {error}") from None


def _yaml(text: str) -> Any:
    import yaml

    class Strict(yaml.SafeLoader):
        """Refuses duplicate keys, keys that are not text, and aliases: a few lines of those can expand to gigabytes."""

        def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                line = self.line + 1
                raise UnreadableDocument(f"uses a YAML alias (by line {line}): write the value out")
            node: yaml.Node | None = super().compose_node(parent, index)
            return node

        def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
            assert isinstance(node, yaml.MappingNode)
            seen: set[str] = set()
            for key_node, _ in node.value:
                line = key_node.start_mark.line + 1
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    raise UnreadableDocument(f"has the key {key!r} (line {line}), which is not text: put it in quotes")
                if key in seen:
                    raise UnreadableDocument(f"has the key {key!r} twice (line {line})")
                seen.add(key)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader=Strict)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        words = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UnreadableDocument(f"is not YAML: {words}{place}") from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, UnreadableDocument):
            raise
        # such as 2026-02-30, which YAML takes for a date
        raise UnreadableDocument(f"is not YAML: {error}: put text in quotes") from None


def _bounded(value: Any, depth: int) -> None:
    if depth < 0:
        raise RecursionError
    if isinstance(value, float) and not math.isfinite(value):
        raise UnreadableDocument("holds a number that is not finite")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnreadableDocument("holds half a surrogate pair, which is no text") from None
    if isinstance(value, dict):
        for key, item in value.items():
            _bounded(key, depth - 1)
            _bounded(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _bounded(item, depth - 1)
