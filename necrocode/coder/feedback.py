"""What the model is told of failed tests: the failing tests first, then the output, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from necrocode.states.ports import TestResult

#: Characters about all failed commands together, and about one of them.
FEEDBACK_CHARACTERS = 12_000
FEEDBACK_EACH = 6_000
#: Of that, at most so much for the list of failing tests.
_TESTS_SHARE = 2 / 3
_MESSAGE = 300
_LISTED_BEFORE = 10


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
    failing = report["failing"]
    broken = [test for test in failing if test["id"] not in before]
    named = [name for name in report["also_failing"] if name not in before]
    old = [test["id"] for test in failing if test["id"] in before]
    old += [name for name in report["also_failing"] if name in before]
    failed = report["failures"] + report["errors"]
    if not failed:
        return ""
    lines = [f"\n{failed} of {report['tests']} tests failed" + _of_them(result, broken, named, old) + ":"]
    left = size - len(lines[0])
    shown = 0
    for line in [*(_line(test) for test in broken), *(f"- {name}" for name in named)]:
        if left < len(line) + 1:
            break
        lines.append(line)
        left -= len(line) + 1
        shown += 1
    unshown = len(broken) + len(named) - shown + report["unnamed"]
    if unshown:
        lines.append(f"- … and {unshown} more")
    if old:
        more = f", … and {len(old) - _LISTED_BEFORE} more" if len(old) > _LISTED_BEFORE else ""
        lines.append(f"Failed before the change, too: {', '.join(old[:_LISTED_BEFORE])}{more}")
    for test in broken[:3]:
        details = test.get("details", "").strip("\n")
        if details and left > len(details) + 100:
            lines.append(f"{test['id']}:\n```\n{details}\n```")
            left -= len(details) + 100
    return "\n".join(lines)


def _of_them(result: TestResult, broken: Sequence[Any], named: Sequence[str], old: Sequence[str]) -> str:
    if result.failed_before is None:
        return ""
    if not broken and not named:
        return ", all of which failed before the change, too"
    return f", {len(old)} of which failed before the change, too" if old else ", none of which failed before the change"


def _line(test: dict[str, Any]) -> str:
    message = " ".join(str(test.get("message", "")).split())
    message = message if len(message) <= _MESSAGE else message[: _MESSAGE - 1] + "…"
    return f"- {test['id']}" + (f": {message}" if message else "")


def ends(text: str, size: int) -> str:
    """Head and tail of ``text``: what failed first and the totals usually stand there."""
    if len(text) <= size:
        return text.strip("\n")
    head, tail = size // 3, size - size // 3
    return f"{text[:head]}\n… {len(text) - size} characters left out …\n{text[-tail:]}".strip("\n")
