"""JUnit XML: what a test runner says of each test, read from a file that nobody vouches for.

There is no schema that everybody keeps to; this reads what pytest, Maven, Gradle, jest-junit, gotestsum, cargo-nextest
and the like have in common. Document types are refused, and with them entities that expand or lead elsewhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from xml.parsers import expat

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 50
MAX_FAILING = 50
"""Failing tests that are kept with their messages."""
MAX_NAMED = 500
"""Failing tests that are kept by name alone, after those."""
MAX_NAME = 300
MAX_MESSAGE = 500
MAX_DETAILS = 1500
_DETAILED = 10
"""Failing tests that are kept with the end of their traceback."""
_TEXT = 20_000
"""Characters of one text that are looked at."""


class UnreadableReport(ValueError):
    """The file is no JUnit XML that may be read."""


@dataclass(frozen=True, slots=True)
class FailingTest:
    """A test that failed."""

    name: str
    #: Class, module or file, as its runner says; perhaps empty.
    classname: str
    #: ``failure`` (an assertion) or ``error`` (anything else).
    kind: Literal["failure", "error"]
    message: str
    #: The end of what the runner says of it, a traceback mostly.
    details: str
    seconds: float

    @property
    def test_id(self) -> str:
        """What it is called in lists, and told from others by."""
        return f"{self.classname}::{self.name}" if self.classname else self.name


@dataclass(slots=True)
class Report:
    """What one or several files say."""

    tests: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0
    #: The first :data:`MAX_FAILING`.
    failing: list[FailingTest] = field(default_factory=list)
    #: Names of :data:`MAX_NAMED` more.
    also_failing: list[str] = field(default_factory=list)
    #: How many more there are.
    unnamed: int = 0

    def add(self, test: FailingTest) -> None:
        """Count one failing test."""
        if len(self.failing) < MAX_FAILING:
            self.failing.append(test)
        elif len(self.also_failing) < MAX_NAMED:
            self.also_failing.append(test.test_id)
        else:
            self.unnamed += 1

    def absorb(self, other: Report) -> None:
        """Count what another says, too."""
        self.tests += other.tests
        self.failures += other.failures
        self.errors += other.errors
        self.skipped += other.skipped
        self.seconds += other.seconds
        for test in other.failing:
            self.add(test)
        room = MAX_NAMED - len(self.also_failing)
        self.also_failing += other.also_failing[:room]
        self.unnamed += other.unnamed + len(other.also_failing[room:])

    def as_json(self) -> dict[str, Any]:
        """As the journal keeps it: what is empty is left out of each failing test."""
        failing = [{**{k: v for k, v in asdict(test).items() if v != ""}, "id": test.test_id} for test in self.failing]
        return {
            "tests": self.tests,
            "failures": self.failures,
            "errors": self.errors,
            "skipped": self.skipped,
            "seconds": round(self.seconds, 3),
            "failing": failing,
            "also_failing": self.also_failing,
            "unnamed": self.unnamed,
        }


def read(content: bytes, *, mask: Callable[[str], str] = lambda text: text) -> Report:
    """What a file says. ``mask`` is used before anything is cut short.

    Raises :class:`UnreadableReport` for a file that is larger than :data:`MAX_BYTES`, is not well-formed, has a
    document type, is nested too deep, or whose root is no ``testsuite`` or ``testsuites``.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableReport(f"is larger than {MAX_BYTES:,} bytes")
    report = Report()
    _Reader(report, mask).read(content)
    return report


class _Reader:
    def __init__(self, report: Report, mask: Callable[[str], str]) -> None:
        self._report, self._mask = report, mask
        self._depth = 0
        self._case: dict[str, str] | None = None
        #: Of the present case: its kind, message, and pieces of text.
        self._kind: Literal["failure", "error", "skipped"] | None = None
        self._message = ""
        self._text: list[str] = []
        self._length = 0
        self._listening = False

    def read(self, content: bytes) -> None:
        # The namespace of a name is cut off with it.
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._hear
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise UnreadableReport(f"is not well-formed XML: {error}") from None
        except (LookupError, ValueError) as error:
            if isinstance(error, UnreadableReport):
                raise
            raise UnreadableReport(f"cannot be decoded: {error}") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(" ")[2]
        if self._depth == 0 and name not in ("testsuite", "testsuites"):
            raise UnreadableReport("has another root than testsuite or testsuites")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableReport(f"is nested more than {MAX_DEPTH} levels deep")
        if name == "testcase":
            self._case, self._kind, self._message, self._text, self._length = attributes, None, "", [], 0
        elif self._case is not None and name in ("failure", "error", "skipped") and self._kind in (None, "skipped"):
            self._kind = "failure" if name == "failure" else "error" if name == "error" else "skipped"
            self._message = attributes.get("message", "") or attributes.get("type", "")
            self._listening = self._kind != "skipped"

    def _end(self, name: str) -> None:
        name = name.rpartition(" ")[2]
        self._depth -= 1
        if name in ("failure", "error"):
            self._listening = False
        elif name == "testcase" and self._case is not None:
            self._count(self._case)
            self._case = None

    def _hear(self, text: str) -> None:
        if self._listening:
            self._text.append(text)
            self._length += len(text)
            # Only the end of it will be kept.
            while self._length - len(self._text[0]) > _TEXT:
                self._length -= len(self._text.pop(0))

    def _count(self, case: dict[str, str]) -> None:
        report, seconds = self._report, _seconds(case.get("time", ""))
        report.tests += 1
        report.seconds += seconds
        report.skipped += self._kind == "skipped"
        if self._kind is None or self._kind == "skipped":
            return
        report.failures += self._kind == "failure"
        report.errors += self._kind == "error"
        details = self._cut("".join(self._text)[-_TEXT:], MAX_DETAILS, tail=True, lines=True)
        message = self._cut(self._message[:_TEXT], MAX_MESSAGE, lines=True) or details.strip().rpartition("\n")[2]
        report.add(
            FailingTest(
                name=self._name(case.get("name", "")) or "(no name)",
                classname=self._name(case.get("classname") or case.get("file") or ""),
                kind=self._kind,
                message=message[:MAX_MESSAGE],
                details=details if len(report.failing) < _DETAILED else "",
                seconds=seconds,
            )
        )

    def _name(self, text: str) -> str:
        """A name that is told from others even where it is cut short."""
        name = self._cut(text[:_TEXT], MAX_NAME)
        if len(name) < MAX_NAME:
            return name
        return name[: MAX_NAME - 9] + "…" + hashlib.sha256(self._mask(text).encode()).hexdigest()[:8]

    def _cut(self, text: str, size: int, *, tail: bool = False, lines: bool = False) -> str:
        """``text``, masked, without control characters, and no longer than ``size``."""
        masked = self._mask(text)
        plain = "".join(
            c if c.isprintable() or (lines and c in "\n\t") else "\N{REPLACEMENT CHARACTER}" for c in masked
        )
        if len(plain) <= size:
            return plain
        return "…" + plain[-size + 1 :] if tail else plain[: size - 1] + "…"


def _refuse(*_: object) -> None:
    raise UnreadableReport("has a document type, which may hold anything")


def _seconds(text: str) -> float:
    try:
        found = float(text.replace(",", "")) if text else 0.0
    except ValueError:
        return 0.0
    return round(found, 3) if math.isfinite(found) and 0 <= found < 1e9 else 0.0
