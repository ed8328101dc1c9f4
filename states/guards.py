"""Guards: pure predicates over the run's data as it will be after the transition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def something_changed(data: Mapping[str, Any]) -> bool:
    """The coder's snapshot is not what it started from."""
    return bool(data["tree"] != data["start_tree"])


def tests_passed(data: Mapping[str, Any]) -> bool:
    """Every test command that was run ended well."""
    return all(test["passed"] for test in data["tests"])


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
