"""``taskset.json``: read strictly, changed in place of what is known, replaced as a whole."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from necrocode.documents import UnreadableDocument, parse, read_bounded
from necrocode.drafts import replace_file
from necrocode.engine.errors import EnvironmentFault
from necrocode.errors import Problem, close_match
from necrocode.registry.records import OURS, ours_of
from necrocode.registry.tasksets import STATES, SetTask, problems
from necrocode.states.ports import Artifact

_MAX_BYTES = 64 * 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class TasksetDamaged(EnvironmentFault):
    """A ``taskset.json`` that is not one: truncated, or edited by hand into something else. Nothing was written."""

    stop_reason = "registry_damaged"


@dataclass(slots=True)
class TasksetDocument:
    """A ``taskset.json`` as it stands: what is not known stays where it is, at every level."""

    path: Path
    raw: dict[str, Any]
    #: As it was read; empty if there was no file.
    before: str

    @property
    def tasks(self) -> list[SetTask]:
        """The tasks, as the raw document has them now."""
        return [_task(raw) for raw in self.raw["tasks"]]

    def raw_task(self, task_id: str) -> dict[str, Any] | None:
        """The raw task of that id."""
        found: dict[str, Any] | None = next((raw for raw in self.raw["tasks"] if raw["id"] == task_id), None)
        return found

    def add_task(self, task_id: str, title: str, at: datetime) -> dict[str, Any]:
        """A new raw task, ready, at the end."""
        raw: dict[str, Any] = {
            "id": task_id,
            "title": title,
            "description": "",
            "state": "ready",
            "dependencies": [],
            "required_skill": None,
            "priority": 0,
            "is_optional": False,
            "assigned_slot": None,
            "reserved_branch": None,
            "runner_id": None,
            "artifacts": [],
            "metadata": {},
            "created_at": at.isoformat(),
            "updated_at": at.isoformat(),
        }
        self.raw["tasks"].append(raw)
        return raw

    @property
    def changed(self) -> bool:
        """Whether it differs from what was read."""
        return _text(self.raw) != self.before

    def save(self) -> None:
        """Replace the file as a whole, synced, under the next version; nothing happens if nothing changed."""
        if not self.changed:
            return
        if self.before and isinstance(self.raw["version"], int):
            self.raw["version"] += 1
        stamp(self.raw, "updated_at", datetime.now(UTC))
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o666
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, _text(self.raw).encode(), mode=mode)
        self.before = _text(self.raw)


def ours(holder: dict[str, Any]) -> dict[str, Any]:
    """What this program keeps in ``holder``'s ``metadata``, to be changed."""
    if holder.get("metadata") is None:
        holder["metadata"] = {}
    kept: dict[str, Any] = holder["metadata"].setdefault(OURS, {})
    return kept


def raw_artifact(artifact: Artifact, key: str) -> dict[str, Any]:
    """An artifact as the file has it."""
    return {
        "type": artifact.type,
        "uri": artifact.uri,
        "size_bytes": artifact.size_bytes,
        "created_at": artifact.created_at.isoformat(),
        "metadata": {**artifact.metadata, OURS: {"key": key, "sha256": artifact.sha256}},
    }


def artifact_of(raw: Mapping[str, Any]) -> Artifact:
    """The artifact that the file has as ``raw``; another tool's has no sha256."""
    metadata = raw.get("metadata") or {}
    size = raw.get("size_bytes")
    return Artifact(
        type=raw["type"],
        uri=raw["uri"],
        size_bytes=size if isinstance(size, int) else 0,
        sha256=str(ours_of(metadata).get("sha256", "")),
        created_at=moment(raw.get("created_at")) or datetime.fromtimestamp(0, UTC),
        metadata={name: value for name, value in metadata.items() if name != OURS},
    )


def stamp(holder: dict[str, Any], field: str, at: datetime) -> None:
    """Set a time, in the form that the file has there."""
    number = isinstance(holder.get(field), int | float)
    holder[field] = at.timestamp() if number else at.isoformat()


def moment(value: Any) -> datetime | None:
    """A time as ISO 8601 or Unix seconds; ``None`` if it is neither."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def read(path: Path, spec_name: str) -> TasksetDocument:
    """The document at ``path``; a new one of no tasks, if there is no file.

    Raises :class:`TasksetDamaged`, naming file, line and field, and ``OSError``.
    """
    if not path.exists():
        now = datetime.now(UTC).isoformat()
        made = {
            "spec_name": spec_name,
            "version": 1,
            "created_at": now,
            "updated_at": now,
            "tasks": [],
            "metadata": {},
        }
        return TasksetDocument(path, made, "")
    content = b""
    try:
        content = read_bounded(path, max_bytes=_MAX_BYTES)
        raw = parse(content, "json")
    except UnreadableDocument as error:
        raise TasksetDamaged(f"{path} {error}: mend it or put a copy back; nothing was written") from None
    found = _shape(raw)
    if not found:
        found = problems([_task(task) for task in raw["tasks"]])
    if found:
        text = content.decode("utf-8-sig", "replace")
        told = "; ".join(f"line {line_of(text, each.field)}: {each}" for each in found[:5])
        more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
        raise TasksetDamaged(f"{path}, {told}{more}: correct it by hand; nothing was written")
    return TasksetDocument(path, raw, _text(raw))


def line_of(text: str, field: str) -> int:
    """The line, from 1, on which ``field`` (such as ``tasks[2].state``) of the JSON in ``text`` stands, or the nearest
    thing around it.
    """
    at = _skip(text, 0)
    for name, place in re.findall(r"([^.\[\]]+)|\[(\d+)\]", field):
        found = _member(text, at, name) if name else _element(text, at, int(place))
        if found is None:
            break
        at = found
    return text.count("\n", 0, at) + 1


def _text(raw: Mapping[str, Any]) -> str:
    return json.dumps(raw, indent=2, ensure_ascii=False) + "\n"


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _member(text: str, at: int, name: str) -> int | None:
    """Where the value of ``name`` begins, in the object that begins at ``at``."""
    if text[at] != "{":
        return None
    at = _skip(text, at + 1)
    while text[at] == '"':
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if key == name:
            return at
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        at = _skip(text, at + 1) if text[at] == "," else at
    return None


def _element(text: str, at: int, place: int) -> int | None:
    """Where the element number ``place``, which is there, begins in the list that begins at ``at``."""
    if text[at] != "[":
        return None
    at = _skip(text, at + 1)
    for _ in range(place):
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        at = _skip(text, at + 1)
    return at


# --- the shape ---

Check = Callable[[Any], str | None]


def _is_text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "must be text that is not empty"


def _is_any_text(value: Any) -> str | None:
    return None if isinstance(value, str) or value is None else "must be text"


def _is_state(value: Any) -> str | None:
    if value in STATES:
        return None
    match = close_match(value, STATES) if isinstance(value, str) else ""
    return f"must be one of {', '.join(STATES)}, not {json.dumps(value, ensure_ascii=False)[:100]}{match}"


def _is_number(value: Any) -> str | None:
    good = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))
    return None if good else "must be a number"


def _is_flag(value: Any) -> str | None:
    return None if isinstance(value, bool) or value is None else "must be true or false"


def _is_object(value: Any) -> str | None:
    if value is not None and not isinstance(value, dict):
        return "must be an object"
    if isinstance(value, dict) and not isinstance(value.get(OURS, {}), dict):
        return f"must have an object as {OURS!r}"
    return None


_TASK: Sequence[tuple[str, Check]] = (
    ("id", _is_text),
    ("title", _is_any_text),
    ("description", _is_any_text),
    ("state", _is_state),
    ("required_skill", _is_any_text),
    ("priority", _is_number),
    ("is_optional", _is_flag),
    ("metadata", _is_object),
)
_ARTIFACT: Sequence[tuple[str, Check]] = (("type", _is_text), ("uri", _is_text), ("metadata", _is_object))


def _shape(raw: Any) -> list[Problem]:
    """Everything that is not of the right type."""
    if not isinstance(raw, dict):
        return [Problem("", "must be a JSON object")]
    found = _checked(raw, "", (("metadata", _is_object),))
    if not isinstance(raw.get("tasks"), list):
        return [*found, Problem("tasks", "must be a list of tasks")]
    raw.setdefault("version", 1)
    for place, task in enumerate(raw["tasks"]):
        name = f"tasks[{place}]"
        if not isinstance(task, dict):
            found.append(Problem(name, "must be an object"))
            continue
        found += _checked(task, f"{name}.", _TASK)
        needs = _list(task, "dependencies", name, found)
        found += [
            Problem(f"{name}.dependencies[{each}]", "must be the id of a task, as text")
            for each, wanted in enumerate(needs)
            if not isinstance(wanted, str)
        ]
        for each, artifact in enumerate(_list(task, "artifacts", name, found)):
            if isinstance(artifact, dict):
                found += _checked(artifact, f"{name}.artifacts[{each}].", _ARTIFACT)
            else:
                found.append(Problem(f"{name}.artifacts[{each}]", "must be an object"))
    return found


def _checked(raw: Mapping[str, Any], prefix: str, checks: Sequence[tuple[str, Check]]) -> list[Problem]:
    told = ((name, check(raw.get(name))) for name, check in checks)
    return [Problem(prefix + name, message) for name, message in told if message]


def _list(raw: Mapping[str, Any], field: str, name: str, found: list[Problem]) -> list[Any]:
    value = raw.get(field)
    if value is not None and not isinstance(value, list):
        found.append(Problem(f"{name}.{field}", "must be a list"))
        return []
    return value or []


def _task(raw: Mapping[str, Any]) -> SetTask:
    metadata = raw.get("metadata") or {}
    return SetTask(
        id=raw["id"],
        title=raw.get("title") or raw["id"],
        description=raw.get("description") or "",
        state=raw["state"],
        dependencies=tuple(raw.get("dependencies") or ()),
        required_skill=raw.get("required_skill"),
        priority=raw.get("priority") or 0,
        is_optional=bool(raw.get("is_optional")),
        is_group=metadata.get("is_group") is True,
        metadata=metadata,
    )
