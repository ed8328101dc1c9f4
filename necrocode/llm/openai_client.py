"""``OpenAIChat``: the port ``LLM`` over the ``openai`` package, its own retries off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.stop import StopToken
from necrocode.llm.answer import read_answer
from necrocode.llm.faults import Endpoint, Reply, refusal
from necrocode.llm.line import Line
from necrocode.llm.streaming import Heard
from necrocode.states.ports import ChatAnswer, ChatRequest

#: Without a stream's options, without a stream, under the other name of the limit.
_WAYS_OF_ASKING = 3

DEFAULT_ENDPOINT = "https://api.openai.com/v1"


class OpenAIChat:
    """Asks one model at one endpoint. Safe between threads; connections are kept between calls.

    ``api_key`` is asked for the key at each call and the key is not kept, so that wiping it is the caller's alone.
    ``key_variable`` is the environment variable that messages tell the user to set. ``endpoint`` is the address up to
    ``/v1``; ``None`` is OpenAI's own. ``mask`` hides loaded secrets in every message.
    ``stream`` asks for answers in pieces, of which ``heard`` is told, from another thread.
    """

    def __init__(
        self,
        *,
        model: str,
        api_key: Callable[[], str | None],
        key_variable: str = "LLM_API_KEY",
        endpoint: str | None = None,
        mask: Callable[[str], str] = str,
        stream: bool = True,
        heard: Heard = lambda _: None,
    ) -> None:
        self._model = model
        self._api_key = api_key
        url = (endpoint or DEFAULT_ENDPOINT).strip().rstrip("/").removesuffix("/chat/completions")
        self._endpoint = Endpoint(url, key_variable, mask)
        self._idle: list[Line] = []
        self._lock = threading.Lock()
        self._closed = False
        #: Makes the first line.
        self._making: threading.Thread | None = None
        self._heard = heard
        #: What is asked for beyond the request itself; an endpoint that refuses it is asked without.
        self._extras: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        # OpenAI's newer models refuse the old name; most other servers know the old one only
        self._limit_name = "max_completion_tokens" if urlsplit(url).hostname == "api.openai.com" else "max_tokens"

    def complete(self, request: ChatRequest, *, key: str, timeout: timedelta, stop: StopToken) -> ChatAnswer:
        """One answer, complete: see :meth:`necrocode.states.ports.LLM.complete` for what is raised.

        ``timeout`` bounds the whole request, from dialling to the answer's last byte. Beyond the port's
        words: ``llm_quota`` (:class:`EnvironmentFault`) when the account has no credit left, and :class:`NotSpent`
        instead of a plain :class:`Transient` when the attempt cannot have cost anything.
        """
        stop.check()
        headers = {"Authorization": f"Bearer {self._key()}", "Idempotency-Key": key}
        reply = self._ask(request, headers, timeout, stop)
        for _ in range(_WAYS_OF_ASKING):
            if reply.status not in (400, 422) or not (self._without_extra(reply) or self._other_limit_name(reply)):
                break
            # refused before any work and paid by nobody: asked once more in the way it wants
            reply = self._ask(request, headers, timeout, stop)
        if not 200 <= reply.status < 300:
            raise refusal(reply, self._endpoint)
        return read_answer(reply, request, self._endpoint, self._model)

    def preload(self) -> None:
        """Make the first line in the background: the ``openai`` package takes a while to import, and the system's
        certificates to read, and a slot is prepared meanwhile.
        """
        # waited for at the end of the process, too: OpenSSL, which reads the certificates, is torn down there, and who
        # is in the middle of it then takes the process down with a signal, whatever its exit code was to be
        self._making = threading.Thread(target=self._make_line, name="preload-openai")
        self._making.start()

    def close(self) -> None:
        """Close every idle connection. A request under way is not disturbed."""
        with self._lock:
            self._closed = True
            lines, self._idle = self._idle, []
        for line in lines:
            line.hang_up()

    def _ask(self, request: ChatRequest, headers: dict[str, str], timeout: timedelta, stop: StopToken) -> Reply:
        line = self._take()
        reply = line.ask(self._body(request), headers, timeout, stop, self._heard)
        self._put_back(line)
        return reply

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "messages": list(request.messages)}
        body[self._limit_name] = request.max_tokens
        body |= self._extras
        if request.tools:
            body["tools"] = list(request.tools)
        if request.response_format is not None:
            body["response_format"] = dict(request.response_format)
        return body

    def _key(self) -> str:
        key = (self._api_key() or "").strip()
        variable = self._endpoint.key_variable
        if not key:
            raise EnvironmentFault(
                f"There is no key for the model: set {variable} (or {variable}_FILE), then resume.",
                stop_reason="llm_auth",
            )
        if not (key.isascii() and key.isprintable()):
            raise EnvironmentFault(
                f"The key in {variable} holds characters that no HTTP header can carry: set it again, then resume.",
                stop_reason="llm_auth",
            )
        return key

    def _without_extra(self, reply: Reply) -> bool:
        """Whether it refuses something that can be left out: the options of a stream, or streams."""
        words = reply.body[:65_536].decode("utf-8", "replace").lower()
        if "stream_options" in self._extras and "stream_options" in words:
            del self._extras["stream_options"]
            return True
        if self._extras and "stream" in words:
            self._extras = {}
            return True
        return False

    def _other_limit_name(self, reply: Reply) -> bool:
        other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[self._limit_name]
        words = reply.body[:65_536].decode("utf-8", "replace")
        refused = f"'{self._limit_name}'" in words and ("nsupported" in words or "nrecognized" in words)
        if refused:
            self._limit_name = other
        return refused

    def _make_line(self) -> None:
        # what cannot be done now, the first request tries again, and says why
        with suppress(Exception):
            self._put_back(Line(self._endpoint))

    def _take(self) -> Line:
        url = self._endpoint.url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EnvironmentFault(
                f"{url!r} is not the address of an endpoint: set llm_endpoint to one such as http://127.0.0.1:8000/v1.",
                stop_reason="llm_request",
            )
        if self._making is not None:
            self._making.join()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Line(self._endpoint)

    def _put_back(self, line: Line) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(line)
                return
        line.hang_up()
