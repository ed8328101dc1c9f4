"""Guards: pure predicates over the run's data as it will be after the transition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXCUSED = ("skipped", "not_run", "allowed", "forgiven")
"""Verdicts on test commands that did not pass, and do not keep the task from being completed."""


def something_changed(data: Mapping[str, Any]) -> bool:
    """The coder's snapshot is not what it started from."""
    return bool(data["tree"] != data["start_tree"])


def tests_passed(data: Mapping[str, Any]) -> bool:
    """No test command ended in a way that keeps the task from being completed."""
    return all(stands(test) for test in data["tests"])


def verdict(test: Mapping[str, Any]) -> str:
    """``passed``, ``failed``, ``flaky`` (passed when it was run again), or one of :data:`EXCUSED`."""
    return str(test.get("verdict") or ("passed" if test["passed"] else "failed"))


def stands(test: Mapping[str, Any]) -> bool:
    """Whether a test command passed, or need not have: it was skipped, may fail, or failed by what failed before."""
    return verdict(test) in ("passed", "flaky", *EXCUSED)


def attempts_left(data: Mapping[str, Any]) -> bool:
    """The coder may try again."""
    return int(data["attempt"]) < int(data["max_attempts"])


def push_wanted(data: Mapping[str, Any]) -> bool:
    """The commit is to be pushed."""
    return bool(data["push"])


def is_success(data: Mapping[str, Any]) -> bool:
    """The run is ending as completed."""
    return bool(data["result"] == "completed")


def is_failure(data: Mapping[str, Any]) -> bool:
    """The run is ending as failed."""
    return bool(data["result"] == "failed")


def is_cancel(data: Mapping[str, Any]) -> bool:
    """The run is ending as cancelled."""
    return bool(data["result"] == "cancelled")
