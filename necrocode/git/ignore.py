"""What ``.gitignore`` files say about a name, after gitignore(5) and git's own wildmatch.

Our own, since a library that answers for whole paths ("matched by a pattern for a parent") differs from git where
patterns of several levels meet; here one name at a time is judged, the way git walks. Patterns come from a model, so
every match takes time linear in name times pattern: nothing backtracks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_CLASSES = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"\x21-\x7e",
    b"lower": rb"a-z",
    b"print": rb"\x20-\x7e",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb"\x09-\x0d ",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}
_NOTHING = rb"(?!)"
_NEVER = re.compile(_NOTHING)
_STARS = None
"""Stands for ``**`` among the parts of a pattern."""


class Rules:
    """The patterns of one ``.gitignore`` and of those above it. Immutable; compared by identity."""

    __slots__ = ("_depth", "_parent", "_patterns")

    _parent: Rules | None
    _patterns: tuple[_Pattern, ...]

    def __init__(self, parent: Rules | None, directory: str, content: bytes) -> None:
        """``directory`` is where the file stands: ``""`` for the top, else a path that ends in ``/``."""
        # One without patterns of its own is skipped over when a name is judged.
        self._parent = parent if parent is None or parent._patterns or parent._parent is None else parent._parent
        self._depth = len(os.fsencode(directory))
        self._patterns = tuple(reversed(_parse(content)))

    def ignores(self, path: str, is_directory: bool) -> bool:
        """Whether ``path`` (from the top) is ignored, its parents being not."""
        raw = os.fsencode(path)
        name = raw.rpartition(b"/")[2]
        rules: Rules | None = self
        while rules is not None:
            for pattern in rules._patterns:
                if pattern.matches(raw[rules._depth :], name, is_directory):
                    return not pattern.negated
            rules = rules._parent
        return False


@dataclass(frozen=True, slots=True)
class _Pattern:
    negated: bool
    directories_only: bool
    #: One part: matched against the name alone. Several: against the path, part by part.
    parts: tuple[re.Pattern[bytes] | None, ...]
    anchored: bool

    def matches(self, path: bytes, name: bytes, is_directory: bool) -> bool:
        if self.directories_only and not is_directory:
            return False
        if not self.anchored:
            part = self.parts[0]
            return part is _STARS or part.fullmatch(name) is not None
        return _match_parts(self.parts, path.split(b"/"))


def _match_parts(parts: Sequence[re.Pattern[bytes] | None], names: Sequence[bytes]) -> bool:
    """Glob over whole names; on a mismatch only the last ``**`` takes one name more, which is enough."""
    at = position = 0
    stars_at = resume = -1
    while position < len(names):
        part = parts[at] if at < len(parts) else _NEVER
        if part is _STARS:
            if at == len(parts) - 1:
                return True
            stars_at, resume = at, position
            at += 1
        elif part.fullmatch(names[position]):
            at += 1
            position += 1
        elif stars_at >= 0:
            resume += 1
            at, position = stars_at + 1, resume
        else:
            return False
    return at == len(parts)


@lru_cache(maxsize=256)
def _parse(content: bytes) -> tuple[_Pattern, ...]:
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return tuple(pattern for line in lines if (pattern := _pattern(line)) is not None)


def _pattern(line: bytes) -> _Pattern | None:
    line = _trim(line.removesuffix(b"\r"))
    if not line or line.startswith(b"#"):
        return None
    negated = line.startswith(b"!")
    text = line[1:] if negated else line
    directories_only = text.endswith(b"/")
    if directories_only:
        text = text[:-1]
    anchored = b"/" in text
    text = text.removeprefix(b"/")
    if not text:
        return None
    parts = tuple(_part(part) for part in (_split(text) if anchored else [text]))
    return _Pattern(negated, directories_only, parts, anchored)


def _split(glob: bytes) -> list[bytes]:
    """The parts between slashes; one in brackets or after a backslash divides nothing."""
    parts, start, at = [], 0, 0
    while at < len(glob):
        byte = glob[at : at + 1]
        if byte == b"[":
            _, at = _bracket(glob, at + 1)
        elif byte == b"\\" and glob[at + 1 : at + 2] != b"/":
            at += 2
        elif byte == b"/":
            parts.append(glob[start:at].removesuffix(b"\\"))
            start = at = at + 1
        else:
            at += 1
    return [*parts, glob[start:]]


def _trim(line: bytes) -> bytes:
    """Without trailing spaces, unless a backslash keeps them."""
    kept = len(line.rstrip(b" "))
    backslashes = kept - len(line[:kept].rstrip(b"\\"))
    return line[: kept + 1] if backslashes % 2 and kept < len(line) else line[:kept]


def _part(glob: bytes) -> re.Pattern[bytes] | None:
    if len(glob) > 1 and not glob.strip(b"*"):
        return _STARS
    return re.compile(_regex(glob), re.DOTALL)


def _regex(glob: bytes) -> bytes:
    """A regular expression for one part. Between two stars the first fit is taken for good (an atomic group)."""
    pieces: list[list[bytes]] = [[]]
    at = 0
    while at < len(glob):
        byte = glob[at : at + 1]
        at += 1
        if byte == b"*":
            pieces.append([])
        elif byte == b"?":
            pieces[-1].append(rb".")
        elif byte == b"[":
            expression, at = _bracket(glob, at)
            pieces[-1].append(expression)
        elif byte == b"\\":
            pieces[-1].append(re.escape(glob[at : at + 1]) if at < len(glob) else _NOTHING)
            at += 1
        else:
            pieces[-1].append(re.escape(byte))
    head, *middle = [b"".join(piece) for piece in pieces]
    if not middle:
        return head
    *middle, tail = middle
    return head + b"".join(rb"(?>.*?" + piece + rb")" for piece in middle if piece) + rb".*" + tail


def _bracket(glob: bytes, at: int) -> tuple[bytes, int]:
    """The set that starts after ``[``, and where it ends; one that never ends matches nothing."""
    negated = glob[at : at + 1] in (b"!", b"^")
    if negated:
        at += 1
    members: list[bytes] = []
    first = True
    while True:
        if at >= len(glob):
            return _NOTHING, len(glob)
        byte = glob[at : at + 1]
        if byte == b"]" and not first:
            at += 1
            break
        first = False
        if (
            glob[at : at + 2] == b"[:"
            and (end := glob.find(b"]", at + 2)) >= 0
            and glob[end - 1 : end] == b":"
            and end > at + 2
        ):
            named = _CLASSES.get(glob[at + 2 : end - 1])
            if named is None:
                return _NOTHING, len(glob)
            members.append(named)
            at = end + 1
            continue
        low, at = _member(glob, at)
        if glob[at : at + 1] == b"-" and at + 1 < len(glob) and glob[at + 1 : at + 2] != b"]":
            high, at = _member(glob, at + 1)
            if low <= high:
                members.append(re.escape(low) + b"-" + re.escape(high))
        else:
            members.append(re.escape(low))
    if not members:
        return (rb"." if negated else _NOTHING), at
    return b"[" + (b"^" if negated else b"") + b"".join(members) + b"]", at


def _member(glob: bytes, at: int) -> tuple[bytes, int]:
    if glob[at : at + 1] == b"\\" and at + 1 < len(glob):
        at += 1
    return glob[at : at + 1], at + 1


EMPTY = Rules(None, "", b"")
"""Ignores nothing."""
