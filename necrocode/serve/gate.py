"""The gate before the services: who may come in, how much they may bring, and what is counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import Headers

from necrocode.serve.answers import Refused, refusal
from necrocode.serve.metrics import Metrics
from necrocode.serve.tokens import SCOPES, Scope, Tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Request

OPEN = frozenset({"/health"})
"""What anybody may ask."""

#: Bytes that are read and thrown away, so that a client that is still sending hears why it was refused.
_DRAINED = 64 * 1024 * 1024
#: Bytes of a multipart body beside the file.
_FORM = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that a request may bring."""

    #: Of a file, at ``POST /artifacts``.
    upload: int = 256 * 1024 * 1024
    #: Of any other body.
    body: int = 4 * 1024 * 1024

    def of(self, path: str) -> int:
        """The limit at a path."""
        return self.upload + _FORM if path == "/artifacts" else self.body


def needed(method: str, path: str) -> Scope:
    """The scope that a call needs."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return "reader"
    return "admin" if path.startswith("/tasksets/") else "runner"


class Gate:
    """ASGI middleware. Routes see paths whose segments are still quoted: an id may hold a slash."""

    def __init__(self, app: ASGIApp, tokens: Tokens, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._tokens = tokens
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """One request, or a message of the server's life."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = path = _segments(scope)
        began, status = time.perf_counter(), 500
        self._metrics.began()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            no = self._refused(scope, path)
            if no is not None:
                await _drain(receive)
                await refusal(no.status_code, no.code, no.detail, no.headers)(scope, receive, sent)
            else:
                await self._app(scope, self._bounded(scope, path, receive), sent)
        finally:
            route = getattr(scope.get("route"), "path", "")
            self._metrics.ended(scope["method"], route, status, time.perf_counter() - began)

    def _refused(self, scope: Request, path: str) -> Refused | None:
        if path in OPEN:
            return None
        has = self._tokens.scope_of(Headers(scope=scope).get("authorization", ""))
        if has is None:
            return Refused(
                401, "unauthorized", "name a token: 'Authorization: Bearer TOKEN'", {"WWW-Authenticate": "Bearer"}
            )
        wants = needed(scope["method"], path)
        if SCOPES.index(has) < SCOPES.index(wants):
            return Refused(403, "forbidden", f"this token is for a {has}, and the call is for a {wants}")
        return None

    def _bounded(self, scope: Request, path: str, receive: Receive) -> Receive:
        limit, came = self._limits.of(path), 0
        declared = Headers(scope=scope).get("content-length", "0")

        async def bounded() -> Message:
            nonlocal came
            too_large = came == 0 and declared.isdecimal() and int(declared) > limit
            message: Message = {} if too_large else await receive()
            came += len(message.get("body", b""))
            if too_large or came > limit:
                if too_large or message.get("more_body"):
                    await _drain(receive)
                raise Refused(413, "too_large", f"the body is larger than the {limit:,} bytes that are taken here")
            return message

        return bounded


async def _drain(receive: Receive) -> None:
    came = 0
    while came <= _DRAINED:
        message = await receive()
        came += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


def _segments(scope: Request) -> str:
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return "/".join(quote(unquote_to_bytes(part), safe="") for part in raw.partition(b"?")[0].split(b"/"))
