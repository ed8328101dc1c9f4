"""Which error a failed request is: the table of statuses, and Retry-After."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from necrocode.engine.errors import EngineError, EnvironmentFault, TaskError, Transient
from necrocode.llm.errors import NotSpent

#: Bytes of an endpoint's own words that go into a message.
EXCERPT = 400

_OVERFLOW = (
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "context length",
    "exceed_context_size",
    "exceeds the available context",
    "prompt is too long",
    "input is too long",
    "too many input tokens",
    "reduce the length of the messages",
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer."""

    status: int
    #: Lower-case names.
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How messages name the other side."""

    url: str
    key_variable: str
    mask: Callable[[str], str]

    def excerpt(self, text: str) -> str:
        """``text`` masked, on one line, no longer than :data:`EXCERPT` characters."""
        # mask first: a cut could leave half a secret that no mask knows
        flat = " ".join(self.mask(text).split())
        return flat if len(flat) <= EXCERPT else flat[:EXCERPT] + f"… ({len(flat) - EXCERPT} more characters)"


def refusal(reply: Reply, endpoint: Endpoint) -> EngineError:
    """The error that stands for an answer whose status is not 2xx.

    ========================================= ===================================================
    401, 403                                  ``EnvironmentFault`` ``llm_auth``
    402, or the code ``insufficient_quota``   ``EnvironmentFault`` ``llm_quota``
    413, or words about the context's length  ``TaskError`` ``context_overflow``
    408, 409, 425, 429, 5xx but 501           ``Transient`` ``llm_unavailable``, Retry-After kept
    anything else                             ``EnvironmentFault`` ``llm_request``
    ========================================= ===================================================
    """
    code, words = _error_of(reply.body)
    said = endpoint.excerpt(words) or "(no message)"
    answer = f"{endpoint.url} answered {reply.status}: {said}"
    if code == "insufficient_quota" or reply.status == 402:
        return EnvironmentFault(f"{answer} Add credit or use another key, then resume.", stop_reason="llm_quota")
    if reply.status in (401, 403):
        way_out = f"Set {endpoint.key_variable} to a key that this endpoint takes, then resume."
        return EnvironmentFault(f"{answer} {way_out}", stop_reason="llm_auth")
    if reply.status == 429:
        return NotSpent(answer, stop_reason="llm_unavailable", retry_after=retry_after(reply.headers))
    if reply.status in (408, 409, 425) or (reply.status >= 500 and reply.status != 501):
        return Transient(answer, stop_reason="llm_unavailable", retry_after=retry_after(reply.headers))
    if reply.status == 413 or (reply.status in (400, 422) and _is_overflow(code, words)):
        return TaskError(f"The conversation is too long for the model: {answer}", stop_reason="context_overflow")
    if 300 <= reply.status < 400:
        target = endpoint.excerpt(reply.headers.get("location", "elsewhere"))
        return EnvironmentFault(
            f"{endpoint.url} redirects to {target}: set llm_endpoint to the final address.", stop_reason="llm_request"
        )
    return EnvironmentFault(f"{answer} Check llm_endpoint and llm_model.", stop_reason="llm_request")


def bad_answer(what: str, reply: Reply, endpoint: Endpoint) -> Transient:
    """A 2xx answer that is not a chat completion."""
    text = endpoint.excerpt(reply.body[:65_536].decode("utf-8", "replace")) or "(an empty body)"
    return Transient(f"{endpoint.url} sent {what}: {text}", stop_reason="llm_bad_answer")


def retry_after(
    headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> timedelta | None:
    """The wait that the other side asked for: ``retry-after-ms``, else ``retry-after`` in seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return timedelta(milliseconds=milliseconds)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return timedelta(seconds=seconds)
    if value is None:
        return None
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(when - now(), timedelta(0))


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    # a year at most: timedelta overflows on what a broken proxy may send
    return min(max(number, 0.0), 366 * 86_400.0) if math.isfinite(number) else None


def _error_of(body: bytes) -> tuple[str, str]:
    text = body[:65_536].decode("utf-8", "replace")
    try:
        document: Any = json.loads(text)
    except ValueError:
        return "", text
    error = document.get("error", document) if isinstance(document, dict) else document
    if not isinstance(error, dict):
        return "", str(error)
    code = str(error.get("code") or error.get("type") or "")
    message = error.get("message") or error.get("detail") or json.dumps(error, ensure_ascii=False)
    if str(error.get("type")) in ("insufficient_quota", "exceed_context_size_error"):
        code = str(error["type"])
    return code, str(message)


def _is_overflow(code: str, words: str) -> bool:
    text = f"{code} {words}".lower()
    return any(sign in text for sign in _OVERFLOW)
