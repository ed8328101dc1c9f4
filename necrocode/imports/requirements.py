"""Kiro's ``requirements.md``: acceptance criteria by number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from necrocode.documents import UnreadableDocument, read_bounded

_REQUIREMENT = re.compile(r"#{1,6}\s+Requirement\s+(\d+(?:\.\d+)*)\b", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}\s")
_CRITERION = re.compile(r"\s{0,3}(\d+(?:\.\d+)*)[.)]\s+(\S.*)")


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a ``requirements.md`` asks for."""

    #: By number, such as ``1.2``: the second criterion of the first requirement.
    by_number: Mapping[str, str] = field(default_factory=dict)

    def criteria(self, references: Sequence[str]) -> tuple[list[str], list[str]]:
        """The criteria that ``references`` name (a requirement's number names all of its own), each with its number;
        and the references that name none.
        """
        found, unknown = dict[str, None](), []
        for reference in references:
            named = [
                f"{number} {text}"
                for number, text in self.by_number.items()
                if number == reference or number.startswith(f"{reference}.")
            ]
            found |= dict.fromkeys(named)
            if not named and self.by_number:
                unknown.append(reference)
        return list(found), unknown


def read_requirements(path: Path) -> Requirements:
    """The criteria in the file at ``path``; none if it is not there or not text."""
    try:
        text = read_bounded(path).decode("utf-8-sig")
    except (UnreadableDocument, UnicodeDecodeError):
        return Requirements()
    found: dict[str, str] = {}
    requirement = criterion = ""
    for line in text.splitlines():
        if match := _REQUIREMENT.match(line):
            requirement, criterion = match[1], ""
        elif requirement and (match := _CRITERION.match(line)):
            criterion = match[1] if "." in match[1] else f"{requirement}.{match[1]}"
            found[criterion] = match[2].strip()
        elif _HEADING.match(line) or not line.strip():
            criterion = ""
        elif criterion and line[0].isspace():
            found[criterion] += f" {line.strip()}"
    return Requirements(found)
