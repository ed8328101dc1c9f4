"""One line to an endpoint: a request that can be hung up on in the middle.

A blocked ``recv`` does not notice that another thread closes its socket; it does notice a shutdown. So a line remembers
the sockets it dialled, and hanging up shuts them down. Each line carries one request at a time, so that hanging up
disturbs nobody else.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from necrocode.engine.errors import EngineError, EnvironmentFault, Transient
from necrocode.engine.stop import StopToken
from necrocode.llm.errors import NotSpent
from necrocode.llm.faults import Endpoint, Reply
from necrocode.llm.openai_package import import_openai
from necrocode.llm.streaming import Broken, Heard, read_stream

if TYPE_CHECKING:
    import httpx2

#: How often a waiting caller looks at its stop token.
GLANCE = timedelta(milliseconds=50)
CONNECT_TIMEOUT = timedelta(seconds=15)
#: An idle connection is kept this long: tool calls between two turns often take minutes.
KEEP_ALIVE = timedelta(minutes=2)
#: How long the end of a streamed response is waited for, once its answer is complete.
LINGER = timedelta(milliseconds=250)


class Line:
    """A connection to ``endpoint``, kept between requests."""

    def __init__(self, endpoint: Endpoint) -> None:
        import_openai()
        import httpx2
        import openai

        self._endpoint = endpoint
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._hung_up = False
        self._http = httpx2.Client(
            # a proxy cannot reach this machine's own loopback, whatever the environment says
            trust_env=not is_loopback(endpoint.url),
            limits=httpx2.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE.total_seconds()),
            event_hooks={"request": [self._watch]},
        )
        self._client = openai.OpenAI(
            # the real key goes with each request only, so that nothing here has to be wiped
            api_key="not-kept-here",
            base_url=endpoint.url,
            max_retries=0,
            http_client=self._http,
        )
        # the package picks these up from the environment, whatever the endpoint is
        self._client.organization = None
        self._client.project = None
        # now, since a line is usually made ahead: the first use asks a process what machine this is
        _ = self._client.default_headers

    def ask(
        self,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        timeout: timedelta,
        stop: StopToken,
        heard: Heard = lambda _: None,
    ) -> Reply:
        """Send a chat completion request and return the complete answer, whatever its status. One that comes as a
        stream is put together, and ``heard`` told of it as it comes.

        :class:`Transient` ``llm_unavailable``: not reached, cut, or not complete within ``timeout``;
        ``llm_bad_answer``: a stream that is none. Raises the stop signal soon after ``stop`` asks. After anything but
        a return the line must not be used again.
        """
        box: list[Reply | BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                box.append(self._send(body, headers, timeout, heard))
            except BaseException as error:  # noqa: BLE001 -- handed to the waiting thread, which raises it
                box.append(error)
            done.set()

        worker = threading.Thread(target=work, name="llm-request", daemon=True)
        end = time.monotonic() + timeout.total_seconds()
        worker.start()
        while not done.wait(min(GLANCE.total_seconds(), max(0.0, end - time.monotonic()))):
            if stop.signal is not None:
                self.hang_up()
                stop.check()
            if time.monotonic() >= end:
                self.hang_up()
                raise self._slow(timeout)
        # the answer has come: its end is at most a few instructions away, and nothing of it may outlive this call
        worker.join()
        result = box.pop()
        if isinstance(result, Reply):
            return result
        self.hang_up()
        stop.check()
        # raised here and from nothing: the original error holds the request, whose headers hold the key
        raise self._fault(result, timeout) from None

    def hang_up(self) -> None:
        """End the request under way, if any, and close the connection."""
        with self._lock:
            self._hung_up = True
        self._shut_connections()
        # the pool may be busy in the worker, which ends by itself now that its socket is shut
        with contextlib.suppress(RuntimeError, OSError):
            self._http.close()

    def _send(self, body: Mapping[str, Any], headers: Mapping[str, str], timeout: timedelta, heard: Heard) -> Reply:
        import httpx2
        import openai

        seconds = timeout.total_seconds()
        patience = httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT.total_seconds()))
        post: Any = self._client.post
        try:
            # ``chat.completions.create`` would look through every message, turn after turn, for what to put in JSON's
            # terms; all of it is in those, and the answer is read by us
            response: httpx2.Response = post(
                "/chat/completions",
                cast_to=httpx2.Response,
                body=dict(body),
                options={"headers": dict(headers), "timeout": patience},
                stream=bool(body.get("stream")),
                stream_cls=openai.Stream,
            )
        except openai.APIStatusError as error:
            response = error.response
        given = {name.lower(): value for name, value in response.headers.items()}
        if response.is_success and given.get("content-type", "").startswith("text/event-stream"):
            return Reply(response.status_code, given, self._gather(response, heard))
        # whatever was asked for, it is answered at once
        return Reply(response.status_code, given, response.read())

    def _gather(self, response: httpx2.Response, heard: Heard) -> bytes:
        import httpx2

        try:
            content, left = read_stream(response, self._client, heard)
        except Broken as error:
            raise Transient(f"{self._endpoint.url} sent {error}", stop_reason="llm_bad_answer") from None
        # The answer is complete. Its response's end, which sets the connection free, is usually there too; an endpoint
        # that holds it back is not waited for.
        impatience = threading.Timer(LINGER.total_seconds(), self._shut_connections)
        impatience.start()
        try:
            with contextlib.suppress(httpx2.HTTPError, OSError):
                for _ in left:
                    pass
        finally:
            impatience.cancel()
            response.close()
        return content

    def _shut_connections(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for connection in sockets:
            _shut(connection)

    def _watch(self, request: httpx2.Request) -> None:
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if not event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete")):
            return
        original = info["return_value"].get_extra_info("socket")
        # a duplicate: TLS takes the original over, and shutting the duplicate down ends the connection just the same
        connection = socket.socket(fileno=original.dup().detach())
        with self._lock:
            hung_up = self._hung_up
            if not hung_up:
                for earlier in self._sockets:
                    earlier.close()
                self._sockets = [connection]
        if hung_up:
            _shut(connection)

    def _slow(self, timeout: timedelta) -> Transient:
        seconds = f"{timeout.total_seconds():g}"
        return Transient(
            f"{self._endpoint.url} gave no complete answer within {seconds} s", stop_reason="llm_unavailable"
        )

    def _fault(self, error: BaseException, timeout: timedelta) -> BaseException:
        import httpx2
        import openai

        if isinstance(error, EngineError):
            return error
        cause = error.__cause__ or error
        if isinstance(cause, httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.PoolTimeout | httpx2.ProxyError):
            said = self._endpoint.excerpt(str(cause)) or type(cause).__name__
            return NotSpent(f"{self._endpoint.url} cannot be reached: {said}", stop_reason="llm_unavailable")
        if isinstance(cause, httpx2.TimeoutException):
            return self._slow(timeout)
        if isinstance(cause, httpx2.UnsupportedProtocol | httpx2.InvalidURL | httpx2.LocalProtocolError | ValueError):
            said = self._endpoint.excerpt(str(cause))
            return EnvironmentFault(
                f"A request to {self._endpoint.url} cannot be made: {said}. Check llm_endpoint.",
                stop_reason="llm_request",
            )
        if isinstance(cause, httpx2.HTTPError | openai.APIConnectionError | OSError):
            said = self._endpoint.excerpt(str(cause)) or type(cause).__name__
            return Transient(f"{self._endpoint.url} cut its answer: {said}", stop_reason="llm_unavailable")
        return error


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine's loopback."""
    import ipaddress

    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
