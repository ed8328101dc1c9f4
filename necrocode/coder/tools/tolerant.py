"""Edits whose old text is not in the file letter by letter, but in just one place line by line.

Models copy well, but not exactly: the indentation of what they quote is off, spaces at line ends are gone, and a quote
or dash became one that looks the same. Such an edit is made if there is only one place that it can mean; what stays the
same between the old text and the new one is left as the file has it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

_ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u0060\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f", " "),
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """Lines of a file to be replaced: ``count`` of them from ``first`` on, both counted from 0."""

    first: int
    count: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The one place that an edit can mean."""

    #: Its first line, from 0.
    line: int
    #: From the first to the last; what is between them stays.
    changes: tuple[Change, ...]
    #: What was not as the edit had it: ``indentation``, ``spaces at line ends``, ``quotes, dashes or spaces``, ``blank
    #: lines``.
    differed: tuple[str, ...]


def places(lines: Sequence[str], old: str, new: str) -> list[Likeness]:
    """The places among ``lines`` that ``old`` can mean, in order; the strictest way of reading it that finds any."""
    wanted, given = old.removesuffix("\n").split("\n"), new.removesuffix("\n").split("\n") if new else []
    if not any(line.strip() for line in wanted):
        return []
    for plain in (str, _without_line_ends, _without_indentation):
        found = [
            place for at in _blocks(lines, wanted, plain) if (place := _place(lines, wanted, given, at)) is not None
        ]
        if found:
            return found
    if wanted[0].strip():
        return []
    # one too many at the beginning, between what names the file and its lines
    shorter = places(
        lines, old.partition("\n")[2], new.partition("\n")[2] if not given[:1] or not given[0].strip() else new
    )
    return [replace(place, differed=(*place.differed, "blank lines")) for place in shorter]


def _without_line_ends(line: str) -> str:
    return line.translate(_ALIKE).rstrip()


def _without_indentation(line: str) -> str:
    return line.translate(_ALIKE).strip()


def _blocks(lines: Sequence[str], wanted: Sequence[str], plain: Callable[[str], str]) -> list[int]:
    have, sought = [plain(line) for line in lines], [plain(line) for line in wanted]
    return [at for at in range(len(have) - len(sought) + 1) if have[at : at + len(sought)] == sought]


def _place(lines: Sequence[str], wanted: Sequence[str], given: Sequence[str], at: int) -> Likeness | None:
    here = lines[at : at + len(wanted)]
    indents = _indents(wanted, here)
    if indents is None:
        return None
    changes = []
    matcher = difflib.SequenceMatcher(None, wanted, given, autojunk=False)
    for tag, start, stop, first, last in matcher.get_opcodes():
        if tag != "equal":
            made = tuple(_indented(line, indents) for line in given[first:last])
            changes.append(Change(at + start, stop - start, made))
    return Likeness(at, tuple(changes), _differences(wanted, here))


def _differences(wanted: Sequence[str], here: Sequence[str]) -> tuple[str, ...]:
    pairs = list(zip(wanted, here, strict=True))
    found = {
        "indentation": any(_indent(one) != _indent(other) for one, other in pairs if one.strip()),
        "spaces at line ends": any(_tail(one) != _tail(other) for one, other in pairs),
        "quotes, dashes or spaces": any(one.strip() != other.strip() for one, other in pairs),
    }
    return tuple(words for words, differ in found.items() if differ)


# --- indentation


def _indents(wanted: Sequence[str], here: Sequence[str]) -> dict[str, str] | None:
    """What each indentation of the old text is in the file; ``None`` if one is now this and now that."""
    found: dict[str, str] = {}
    for one, other in zip(wanted, here, strict=True):
        if one.strip() and found.setdefault(_indent(one), _indent(other)) != _indent(other):
            return None
    return found


def _indented(line: str, indents: Mapping[str, str]) -> str:
    """A new line with the indentation that the file would give it."""
    if not line.strip():
        return line
    own = _indent(line)
    return _translated(own, indents) + line[len(own) :]


def _translated(own: str, indents: Mapping[str, str]) -> str:
    if own in indents:
        return indents[own]
    shallower = [known for known in indents if own.startswith(known)]
    if shallower:
        base = max(shallower, key=len)
        return indents[base] + _in_units(own[len(base) :], indents)
    for known in sorted(indents, key=len):
        # less deep than anything that was quoted
        rest = _in_units(known[len(own) :], indents)
        if known.startswith(own) and indents[known].endswith(rest):
            return indents[known].removesuffix(rest)
    return own


def _in_units(deeper: str, indents: Mapping[str, str]) -> str:
    """``deeper`` with tabs for spaces, or the other way round, if that is how the file differs."""
    for known, real in indents.items():
        if known and real and set(known) == {" "} and set(real) == {"\t"}:
            width = max(1, len(known) // len(real))
            return "\t" * (len(deeper) // width) + " " * (len(deeper) % width)
        if known and real and set(known) == {"\t"} and set(real) == {" "}:
            return deeper.replace("\t", " " * (len(real) // len(known)))
    return deeper


def _indent(line: str) -> str:
    found = re.match(r"[ \t]*", line)
    assert found is not None
    return found[0]


def _tail(line: str) -> str:
    return line[len(line.rstrip()) :]
