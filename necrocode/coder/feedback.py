"""What the model is told of failed tests: the failing tests first, then the output, within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from necrocode.states.ports import TestResult

#: Characters about all failed commands together, and about one of them.
FEEDBACK_CHARACTERS = 12_000
FEEDBACK_EACH = 6_000
#: Of that, at most so much for the list of failing tests.
_TESTS_SHARE = 2 / 3
_MESSAGE = 300
_LISTED_BEFORE = 10
#: Kept for what stands below the list.
_RESERVED = 700


def told(feedback: Sequence[TestResult]) -> str:
    """Failed commands with their failing tests and the ends of their output, then the names of those that passed."""
    failed = [result for result in feedback if not result.passed]
    each = min(FEEDBACK_EACH, FEEDBACK_CHARACTERS // max(1, len(failed)))
    parts = [_failed(result, each) for result in failed]
    parts += [f"`{result.command}`: passed" for result in feedback if result.passed]
    return "\n\n".join(parts) or "(no results)"


def _failed(result: TestResult, size: int) -> str:
    how = f"exit code {result.exit_code}" if result.status == "exited" else result.status
    tests = "" if result.report is None else _tests(result, int(size * _TESTS_SHARE))
    output = ends(result.output, size - len(tests))
    return f"`{result.command}`: {how}{tests}\n```\n{output}\n```"


def _tests(result: TestResult, size: int) -> str:
    """The failing tests as lines: those that the change broke first, with details while there is room."""
    report, before = result.report, set(result.failed_before or ())
    assert report is not None
    failed = report["failures"] + report["errors"]
    if not failed:
        return ""
    known = [*report["failing"], *({"id": name} for name in report["also_failing"])]
    broken = [test for test in known if test["id"] not in before]
    old = [test["id"] for test in known if test["id"] in before]
    lines = [f"\n{failed} of {report['tests']} tests failed" + _of_them(result, len(broken), len(old)) + ":"]
    left = size - len(lines[0]) - _RESERVED
    shown = 0
    for line in map(_line, broken):
        if left < len(line) + 1:
            break
        lines.append(line)
        left -= len(line) + 1
        shown += 1
    unshown = len(broken) - shown + report["unnamed"]
    lines += [f"- … and {unshown} more"] if unshown else []
    if old:
        more = f", … and {len(old) - _LISTED_BEFORE} more" if len(old) > _LISTED_BEFORE else ""
        lines.append(_short(f"Failed before the change, too: {', '.join(old[:_LISTED_BEFORE])}", _RESERVED // 2) + more)
    for test in broken[:shown]:
        details = test.get("details", "").strip("\n")
        if details and left > len(details) + _RESERVED:
            lines.append(f"{test['id']}:\n```\n{details}\n```")
            left -= len(details) + _RESERVED
    return "\n".join(lines)[:size]


def _of_them(result: TestResult, broken: int, old: int) -> str:
    if result.failed_before is None:
        return ""
    if not broken:
        return ", all of which failed before the change, too"
    return f", {old} of which failed before the change, too" if old else ", none of which failed before the change"


def _line(test: Mapping[str, Any]) -> str:
    message = _short(" ".join(str(test.get("message", "")).split()), _MESSAGE)
    return f"- {test['id']}" + (f": {message}" if message else "")


def _short(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def ends(text: str, size: int) -> str:
    """Head and tail of ``text``: what failed first and the totals usually stand there."""
    if len(text) <= size:
        return text.strip("\n")
    head, tail = size // 3, size - size // 3
    return f"{text[:head]}\n… {len(text) - size} characters left out …\n{text[-tail:]}".strip("\n")
