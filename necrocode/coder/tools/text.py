"""A text file's bytes as the model sees them, and edits that leave every other byte as it was."""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from necrocode.coder.tools.beneath import Refused
from necrocode.coder.tools.tolerant import Likeness, places

_BOM = "\ufeff"
#: Lines of a file that are compared when an edit's text is not found.
_COMPARED_LINES = 3000


@dataclass(frozen=True, slots=True)
class Text:
    """A decoded file: line ends as ``\\n``, without a byte-order mark, with what is needed to write it back."""

    #: As the model sees it. Bytes that are no UTF-8 are lone surrogates, so that they survive.
    shown: str
    bom: bool
    #: Offsets in ``shown`` of the line ends that were ``\\r\\n``.
    crlf: tuple[int, ...]

    @classmethod
    def decode(cls, content: bytes, name: str) -> Text:
        """:class:`Refused` for a binary file (one with a NUL byte)."""
        if b"\0" in content:
            raise Refused(f"{name} is a binary file")
        text = content.decode("utf-8", "surrogateescape")
        bom = text.startswith(_BOM)
        parts = text[bom:].split("\r\n")
        offset, ends = 0, []
        for part in parts[:-1]:
            offset += len(part)
            ends.append(offset)
            offset += 1
        return cls("\n".join(parts), bom, tuple(ends))

    def encode(self) -> bytes:
        """The file's bytes."""
        pieces, start = [_BOM] if self.bom else [], 0
        for end in self.crlf:
            pieces += [self.shown[start:end], "\r"]
            start = end
        pieces.append(self.shown[start:])
        return "".join(pieces).encode("utf-8", "surrogateescape")

    @property
    def lines(self) -> list[str]:
        """The lines without their ends. A final line end opens no further line."""
        lines = self.shown.split("\n")
        if lines[-1] == "":
            lines.pop()
        return lines

    @property
    def ends_mostly_crlf(self) -> bool:
        """Whether more lines end with ``\\r\\n`` than with ``\\n``."""
        return len(self.crlf) * 2 > self.shown.count("\n")

    def splice(self, start: int, end: int, new: str) -> Text:
        """``shown[start:end]`` replaced by ``new``; its line ends become what the replaced ones were, or the file's."""
        old_ends = self.shown.count("\n", start, end)
        first, last = bisect.bisect_left(self.crlf, start), bisect.bisect_left(self.crlf, end)
        crlf = (last - first) * 2 > old_ends if old_ends else self.ends_mostly_crlf
        added = [start + match.start() for match in re.finditer("\n", new)] if crlf else []
        shift = len(new) - (end - start)
        return Text(
            self.shown[:start] + new + self.shown[end:],
            self.bom,
            (*self.crlf[:first], *added, *(offset + shift for offset in self.crlf[last:])),
        )


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit has made of a text."""

    text: Text
    times: int
    #: How the text that was replaced differed from what the edit named; empty if it did not.
    differed: tuple[str, ...] = ()


def edit(text: Text, old: str, new: str, *, replace_all: bool, name: str) -> Edited:
    """``text`` with ``old`` replaced by ``new``.

    ``old`` must stand in it exactly once, or anywhere with ``replace_all``; or, letter by letter, nowhere, and in just
    one place but for indentation, spaces at line ends, and quotes and dashes that look alike. A final line end is kept.
    :class:`Refused` says what to do: it shows the lines that come closest, or where the several matches are.
    """
    old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    refuse_surrogates(old, "old_text")
    refuse_surrogates(new, "new_text")
    if not old:
        raise Refused("old_text is empty; to create a file or replace all of it use write_file")
    if old == new:
        raise Refused("old_text and new_text are the same: nothing to change")
    found = _offsets(text.shown, old)
    if not found:
        return _almost(text, old, new, name)
    if len(found) > 1 and not replace_all:
        lines = at_lines([text.shown.count("\n", 0, offset) for offset in found])
        raise Refused(
            f"old_text stands {len(found)} times in {name} ({lines}); "
            "give more of the lines around it, or set replace_all"
        )
    # what both have in common is left alone, so that its line ends stay even in a file that mixes them
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    edited = text
    for offset in reversed(found):
        edited = edited.splice(offset + head, offset + len(old) - tail, new[head : len(new) - tail])
    return Edited(ended_like(text, edited), len(found))


def _almost(text: Text, old: str, new: str, name: str) -> Edited:
    lines = text.lines
    found = places(lines, old, new)
    if not found:
        raise Refused(not_found(text, old, name))
    if len(found) > 1:
        raise Refused(
            f"old_text is not in {name} letter by letter, and {len(found)} places differ from it only in "
            f"{' and '.join(found[0].differed)} ({at_lines([place.line for place in found])}); copy one exactly"
        )
    (place,) = found
    return Edited(ended_like(text, carried_out(text, place)), 1, place.differed)


def carried_out(text: Text, place: Likeness) -> Text:
    """``text`` with the changes of ``place`` made."""
    lines = text.lines
    starts = [0, *(match.end() for match in re.finditer("\n", text.shown))][: len(lines)]
    ends = [start + len(line) for start, line in zip(starts, lines, strict=True)]
    edited = text
    for change in reversed(place.changes):
        after = change.first + change.count
        if change.count and change.lines:
            edited = edited.splice(starts[change.first], ends[after - 1], "\n".join(change.lines))
        elif change.count:
            edited = edited.splice(starts[change.first], min(ends[after - 1] + 1, len(text.shown)), "")
        elif change.first < len(lines):
            edited = edited.splice(starts[change.first], starts[change.first], "\n".join((*change.lines, "")))
        else:
            edited = edited.splice(ends[-1], ends[-1], "\n".join(("", *change.lines)))
    return edited


def ended_like(before: Text, after: Text) -> Text:
    """``after`` with a final line end if ``before`` had one."""
    if before.shown.endswith("\n") and after.shown and not after.shown.endswith("\n"):
        return after.splice(len(after.shown), len(after.shown), "\n")
    return after


def at_lines(found: Sequence[int]) -> str:
    """Line numbers (given from 0) for people."""
    return f"lines {', '.join(str(line + 1) for line in found[:10])}{'…' if len(found) > 10 else ''}"


def _common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _offsets(text: str, old: str) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(old), text)]


def refuse_surrogates(text: str, argument: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(f"{argument} holds characters that are not valid Unicode") from None


def not_found(text: Text, old: str, name: str) -> str:
    lines = text.lines
    if not lines:
        return f"{name} is empty; use write_file"
    wanted = old.strip("\n").split("\n")
    at = _ignoring_space(lines, wanted)
    if at is not None:
        return (
            f"old_text is not in {name}, but the same text with other spaces is, at line {at + 1}. "
            f"Copy it exactly:\n{_excerpt(lines, at, len(wanted))}"
        )
    hint = ""
    if all(re.match(r"\s*\d+\t", line) for line in wanted if line):
        hint = " (leave out the line numbers that read_file shows)"
    best = _closest(lines, wanted)
    if best is None:
        return f"old_text is not in {name}, nor anything like it{hint}; read the file first"
    return f"old_text is not in {name}{hint}. The closest lines are:\n{_excerpt(lines, best, len(wanted))}"


def _ignoring_space(lines: list[str], wanted: list[str]) -> int | None:
    plain = ["".join(line.split()) for line in lines]
    sought = ["".join(line.split()) for line in wanted]
    if not any(sought):
        return None
    places = range(len(plain) - len(sought) + 1)
    return next((at for at in places if plain[at : at + len(sought)] == sought), None)


def _closest(lines: list[str], wanted: list[str]) -> int | None:
    """Where the longest of the wanted lines has its nearest like, moved back to where the block would start."""
    index, longest = max(enumerate(wanted), key=lambda pair: len(pair[1].strip()))
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(longest.strip()[:200])
    best, best_ratio = None, 0.5
    for number, line in enumerate(lines[:_COMPARED_LINES]):
        matcher.set_seq1(line.strip()[:200])
        if matcher.real_quick_ratio() > best_ratio and matcher.quick_ratio() > best_ratio:
            ratio = matcher.ratio()
            if ratio > best_ratio:
                best, best_ratio = number, ratio
    return None if best is None else max(0, best - index)


def _excerpt(lines: list[str], start: int, count: int) -> str:
    shown = lines[start : start + min(count, 20)]
    return "\n".join(f"{start + number + 1}\t{printable(line[:500])}" for number, line in enumerate(shown))


def printable(text: str) -> str:
    """``text`` with bytes that were no UTF-8 shown as U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
