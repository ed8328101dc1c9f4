"""Patches of one file: hunks that say what stands before and after, found by their text and their order.

A hunk is a JSON object, since it goes through the journal as a call's argument::

    {"after": ["class A", "def f(self):"],     // lines that stand somewhere above it, outermost first
     "old": ["    return 1"],                  // its lines in the file as it is
     "new": ["    return 2"],                  // and what they become
     "at_end": false}                          // whether it ends where the file ends

Hunks stand in the order of the file. One that has several places and no line above it that tells them apart is refused,
and with it the whole patch: no guess is made, and no half of a patch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from necrocode.coder.tools.beneath import Refused
from necrocode.coder.tools.text import Edited, Text, at_lines, carried_out, ended_like, not_found, refuse_surrogates
from necrocode.coder.tools.tolerant import Change, Likeness, places


def patched(text: Text, hunks: Sequence[Mapping[str, Any]], name: str) -> Edited:
    """``text`` with all ``hunks`` carried out. :class:`Refused` says which one has no place, or too many."""
    before, cursor, differed = text, 0, dict[str, None]()
    for hunk in hunks:
        refuse_surrogates("\n".join((*hunk["old"], *hunk["new"])), "the patch")
        place = _place(text, hunk, cursor, name)
        text = carried_out(text, place) if text.lines else _of_nothing(text, hunk)
        cursor = place.line + len(hunk["new"])
        differed |= dict.fromkeys(place.differed)
    return Edited(ended_like(before, text), len(hunks), tuple(differed))


def _place(text: Text, hunk: Mapping[str, Any], cursor: int, name: str) -> Likeness:
    lines, old = text.lines, hunk["old"]
    above = _below(lines, hunk["after"], cursor, name)
    if not old:
        # only lines to add: where is said by what stands above, or by the end
        if not (hunk["at_end"] or above is not None or not lines):
            raise Refused(f"{name}: a hunk that only adds needs some lines around it, to be found")
        at = len(lines) if hunk["at_end"] or above is None else above
        return Likeness(at, (Change(at, 0, tuple(hunk["new"])),), ())
    found = places(lines, "\n".join(old) + "\n", "".join(f"{line}\n" for line in hunk["new"]))
    if not found:
        raise Refused(not_found(text, "\n".join(old), name))
    last = [place for place in found if place.line + len(old) == len(lines)]
    if hunk["at_end"] and last:
        return last[0]
    below = [place for place in found if place.line >= (cursor if above is None else above)]
    if below and (above is not None or len(below) == 1):
        return below[0]
    if len(found) > 1:
        raise Refused(
            f"{name}: the lines of a hunk stand {len(found)} times ({at_lines([place.line for place in found])}); "
            "give more of the lines around it, or '@@' and a line above it"
        )
    return found[0]


def _below(lines: Sequence[str], after: Sequence[str], cursor: int, name: str) -> int | None:
    """The number of the line from which a hunk is to be looked for; ``None`` if nothing says that."""
    at: int | None = None
    for number, line in enumerate(after):
        if not line.strip():
            # a bare '@@' under others: all of them are meant
            continue
        # the outermost may stand above the hunk before this one, the others below it
        start = (cursor if at is None else at) if number else 0
        found = _line(lines, line, start, cursor)
        if found is not None:
            at = max(found, cursor)
        elif len(after) > 1:
            raise Refused(f"{name} has no line {line.strip()!r} where the patch names it, so nothing was changed")
    return at


def _line(lines: Sequence[str], wanted: str, start: int, cursor: int) -> int | None:
    """The number of the line after ``wanted``: the next one from ``cursor`` on, else one before it."""
    for plain in (str, str.strip):
        found = [at for at, line in enumerate(lines, 1) if at > start and plain(line) == plain(wanted)]
        if found:
            return next((number for number in found if number > cursor), found[-1])
    return None


def _of_nothing(text: Text, hunk: Mapping[str, Any]) -> Text:
    return text.splice(0, len(text.shown), "".join(f"{line}\n" for line in hunk["new"]))
