"""Answers that say no: one form for every error, and which error is which status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from necrocode.engine.errors import EnvironmentFault, JournalDamaged, JournalError, TaskError, Transient
from necrocode.errors import InvalidInput, NotFound

log = logging.getLogger("necrocode.serve")

_CONFLICTS = frozenset(
    {"superseded", "key_reused", "no_slot", "slot_lost", "illegal_transition", "version_conflict", "in_use"}
)
_RETRY_AFTER = {"Retry-After": "1"}


class Problem(BaseModel):
    """What was wrong."""

    #: A stable word, such as ``key_reused``.
    code: str
    #: For people.
    message: str


class Refusal(BaseModel):
    """The body of every answer that is no success."""

    error: Problem


class Refused(HTTPException):
    """Refuse the request with this status, code and message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``: these statuses answer a :class:`Refusal`, beside those that every route may."""
    always = (401, 403, 405, 422, 500, 503)
    return {status: {"model": Refusal, "description": HTTPStatus(status).phrase} for status in (*always, *statuses)}


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer itself."""
    body = {"error": {"code": code, "message": message}}
    return JSONResponse(body, status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Have ``app`` answer every error in this form."""

    @app.exception_handler(HTTPException)
    def refused(_: Request, error: HTTPException) -> JSONResponse:
        code = getattr(error, "code", None) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return refusal(error.status_code, code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = "; ".join(f"{_where(each['loc'])}: {each['msg']}" for each in error.errors()[:10])
        return refusal(422, "invalid_request", problems)

    @app.exception_handler(InvalidInput)
    def conflicting(_: Request, error: InvalidInput) -> JSONResponse:
        return refusal(409, "invalid_task_set", str(error))

    @app.exception_handler(TaskError)
    def no_repository(_: Request, error: TaskError) -> JSONResponse:
        return refusal(404, error.stop_reason, str(error))

    @app.exception_handler(EnvironmentFault)
    def fault(request: Request, error: EnvironmentFault) -> JSONResponse:
        if isinstance(error, NotFound):
            return refusal(404, "not_found", str(error))
        if error.stop_reason in _CONFLICTS:
            return refusal(409, error.stop_reason, str(error))
        log.error("%s %s: %s", request.method, request.scope["path"], error)
        passes = isinstance(error, Transient | JournalError) and not isinstance(error, JournalDamaged)
        if passes:
            return refusal(503, error.stop_reason, str(error), _RETRY_AFTER)
        return refusal(500, error.stop_reason, str(error))

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
        return refusal(500, "internal", "the server failed; its log says more")


def _where(place: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in place[1:]) or str(place[0])
