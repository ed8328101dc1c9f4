"""Retry policies of the lifecycle's effects, from the recorded settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from necrocode.engine.retry import RetryPolicy


def git_retries(settings: Mapping[str, Any]) -> RetryPolicy:
    """For fetch and push: ``git_retry_count`` attempts after the first."""
    return _policy(settings, "git_retry_count")


def network_retries(settings: Mapping[str, Any]) -> RetryPolicy:
    """For the registry, the pool and the artifact store: ``network_retry_count`` attempts after
    the first."""
    return _policy(settings, "network_retry_count")


def _policy(settings: Mapping[str, Any], field: str) -> RetryPolicy:
    first = timedelta(seconds=settings["retry_initial_seconds"])
    return RetryPolicy(attempts=1 + settings[field], first_wait=first, max_wait=timedelta(seconds=30))
