"""Kiro's ``tasks.md``: numbered check boxes in, and ticked back when their tasks are done."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from necrocode.documents import UnreadableDocument, read_bounded
from necrocode.drafts import replace_file
from necrocode.errors import Problem
from necrocode.imports.imported import Imported, InvalidImport
from necrocode.imports.requirements import read_requirements
from necrocode.registry.tasksets import SetTask, TaskSet

log = logging.getLogger("necrocode.imports")

FORMAT = "kiro"

_BOX = re.compile(rb"([ \t]*)[-*+][ \t]+\[([ xX~-])\](\*?)(?!\()[ \t]*([^\r\n]*)")
_NUMBERED = re.compile(r"(\d+(?:\.\d+)*)[.)]?(\*?)\s+(\S.*)")
_FENCE = re.compile(rb"[ \t]*(```|~~~)")
_HEADING = re.compile(rb"#{1,6}\s")
_REQUIREMENTS = re.compile(r"^[-*+]?\s*_Requirements?:\s*(.*?)_\s*$", re.IGNORECASE)


@dataclass(slots=True)
class _Box:
    """A numbered check box with the lines below it."""

    line: int
    #: Columns, a tab going to the next multiple of 4.
    indent: int
    #: Where in the file the character between the brackets stands, in bytes.
    mark_at: int
    is_ticked: bool
    is_optional: bool
    #: Empty if it has none.
    number: str
    title: str
    details: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)


def read_tasks(path: Path, spec_name: str | None = None) -> Imported:
    """The tasks of the ``tasks.md`` at ``path``; without ``spec_name``, its folder names the spec.

    ``2.1`` is a part of ``2``. Each task waits for the one before it, a parent for its parts; a parent that says
    nothing itself is a group. Nobody waits for optional tasks (``*``). ``_Requirements: 1.2_`` becomes acceptance
    criteria, if there is a ``requirements.md`` beside the file. Raises :class:`InvalidImport`, naming lines.
    """
    path = path.resolve()
    what = f"task list {path}"
    try:
        boxes = _boxes(_content(path))
    except UnreadableDocument as error:
        raise InvalidImport(what, [Problem("", f"the file {error}")]) from None
    problems = _problems(boxes)
    if problems:
        raise InvalidImport(what, problems)
    requirements = read_requirements(path.with_name("requirements.md"))
    related = _related(path)
    outline = _Outline(boxes)
    tasks, warnings = [], []
    for box in boxes:
        criteria, unknown = requirements.criteria(box.references)
        warnings += [f"line {box.line}: requirements.md has no requirement {each!r}" for each in unknown]
        metadata: dict[str, Any] = {
            "acceptance_criteria": criteria,
            "requirements": box.references,
            "related_files": related,
            "source": {"format": FORMAT, "path": str(path), "number": box.number},
        }
        tasks.append(
            SetTask(
                id=box.number,
                title=box.title,
                description="\n".join(box.details) or box.title,
                state="done" if box.is_ticked else "ready",
                dependencies=outline.dependencies(box),
                is_optional=outline.is_optional(box),
                is_group=bool(outline.parts(box)) and not box.details,
                metadata=metadata,
            )
        )
    return Imported(TaskSet(spec_name or path.parent.name, tuple(tasks)), tuple(warnings))


def tick_done(tasks: Sequence[SetTask]) -> None:
    """Tick the boxes of those of ``tasks`` that came out of a ``tasks.md``. Never raises: what cannot be ticked is
    logged.
    """
    numbers: dict[Path, set[str]] = {}
    for task in tasks:
        source = task.metadata.get("source")
        if isinstance(source, dict) and source.get("format") == FORMAT:
            numbers.setdefault(Path(str(source.get("path"))), set()).add(str(source.get("number")))
    for path, wanted in numbers.items():
        try:
            tick(path, wanted)
        except (OSError, UnreadableDocument) as error:
            log.warning("%s %s: the boxes of %s are not ticked", path, error, ", ".join(sorted(wanted)))


def tick(path: Path, numbers: Collection[str]) -> None:
    """Tick the boxes of these numbers; every other byte stays as it is. Raises ``OSError`` and
    :class:`UnreadableDocument`.
    """
    content = bytearray(_content(path))
    marks = [box.mark_at for box in _boxes(bytes(content)) if box.number in numbers and not box.is_ticked]
    for mark in marks:
        content[mark] = ord("x")
    if marks:
        replace_file(path, bytes(content), mode=path.stat().st_mode & 0o777)


def _content(path: Path) -> bytes:
    content = read_bounded(path)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise UnreadableDocument(f"is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    return content


def _boxes(content: bytes) -> list[_Box]:
    """Every check box that is a task, with or without a number, in the order of the file."""
    found: list[_Box] = []
    #: Whose details the next lines are.
    inside: _Box | None = None
    for number, start, line, is_code in _lines(content):
        match = None if is_code else _BOX.match(line)
        box = _box(number, start, match) if match else None
        if box is not None and (box.number or inside is None or box.indent <= inside.indent):
            found.append(box)
            inside = box
        elif not is_code and _HEADING.match(line):
            inside = None
        elif inside is not None:
            _add_detail(inside, line.decode().rstrip())
    for box in found:
        box.details = _dedented(box.details)
    return found


def _lines(content: bytes) -> Iterator[tuple[int, int, bytes, bool]]:
    """Number, place and text of each line, and whether it is between code fences."""
    start = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    fence = b""
    for number, line in enumerate(content[start:].splitlines(keepends=True), 1):
        match = _FENCE.match(line)
        yield number, start, line, bool(fence or match)
        if match:
            fence = b"" if fence == match[1] else fence or match[1]
        start += len(line)


def _box(line: int, start: int, match: re.Match[bytes]) -> _Box:
    text = match[4].decode().strip()
    numbered = _NUMBERED.match(text)
    return _Box(
        line=line,
        indent=len(match[1].expandtabs(4)),
        mark_at=start + match.start(2),
        is_ticked=match[2] in b"xX",
        is_optional=bool(match[3]) or bool(numbered and numbered[2]),
        number=numbered[1] if numbered else "",
        title=(numbered[3] if numbered else text).strip(),
    )


def _add_detail(box: _Box, line: str) -> None:
    match = _REQUIREMENTS.match(line.strip())
    if match:
        box.references += [each.strip() for each in match[1].split(",") if each.strip()]
    else:
        box.details.append(line.expandtabs(4))


def _dedented(lines: Sequence[str]) -> list[str]:
    said = [line for line in lines if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in said), default=0)
    text = "\n".join(line[margin:] for line in lines).strip("\n")
    return text.split("\n") if text else []


def _problems(boxes: Sequence[_Box]) -> list[Problem]:
    if not boxes:
        return [Problem("", "holds no check box such as '- [ ] 1. Title'")]
    found, lines = [], dict[str, int]()
    for box in boxes:
        if not box.number:
            found.append(Problem(f"line {box.line}", "the check box needs a number, such as '- [ ] 1.2 Title'"))
        elif lines.setdefault(box.number, box.line) != box.line:
            found.append(Problem(f"line {box.line}", f"line {lines[box.number]} has the number {box.number} already"))
    return found


def _related(path: Path) -> list[str]:
    """Design and requirements as paths in the repository, if the file lies where Kiro puts it."""
    if path.parent.parent.name != "specs" or path.parent.parent.parent.name != ".kiro":
        return []
    names = [name for name in ("design.md", "requirements.md") if path.with_name(name).is_file()]
    return [f".kiro/specs/{path.parent.name}/{name}" for name in names]


class _Outline:
    """Which box is a part of which, and what each waits for."""

    def __init__(self, boxes: Sequence[_Box]) -> None:
        self._by_number = {box.number: box for box in boxes}
        self._parts: dict[str, list[_Box]] = {}
        for box in boxes:
            self._parts.setdefault(self._whole(box.number), []).append(box)

    def _whole(self, number: str) -> str:
        """The number of the nearest box that ``number`` is a part of; empty if it is none's."""
        while number:
            number = number.rpartition(".")[0]
            if number in self._by_number:
                return number
        return ""

    def parts(self, box: _Box) -> list[_Box]:
        """The boxes that are parts of ``box``."""
        return self._parts.get(box.number, [])

    def is_optional(self, box: _Box) -> bool:
        """Whether it, or what it is a part of, is optional."""
        whole = self._whole(box.number)
        return box.is_optional or (bool(whole) and self.is_optional(self._by_number[whole]))

    def dependencies(self, box: _Box) -> tuple[str, ...]:
        """Its parts; without any, what stands before it."""
        needed = [part.number for part in self.parts(box) if not part.is_optional]
        return tuple(needed) or self._before(box)

    def _before(self, box: _Box) -> tuple[str, ...]:
        whole = self._whole(box.number)
        earlier = [each for each in self._parts[whole] if each.line < box.line and not each.is_optional]
        if earlier:
            return (earlier[-1].number,)
        return self._before(self._by_number[whole]) if whole else ()
