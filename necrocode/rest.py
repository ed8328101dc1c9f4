"""The call: one HTTP request to a service, with its answer or a clear error."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlsplit

from necrocode.engine.errors import EnvironmentFault, Transient, Unreached
from necrocode.errors import NotFound

if TYPE_CHECKING:
    import httpx

    from necrocode.deadlines import Deadline

#: Bytes of an answer that are read where a call does not say otherwise.
MAX_ANSWER = 4 * 1024 * 1024
#: Characters of the server's own words that go into an error.
_MAX_WORDS = 300
#: Characters of what is said to be wrong with an answer.
_MAX_PROBLEM = 600
RETRIED = frozenset({408, 425, 429})
"""Statuses of refusals that may pass."""
Token: TypeAlias = "str | Callable[[], str | None] | None"
"""A bearer token, or what gives it at each call (nothing, once credentials are wiped)."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of a service."""

    #: For people: ``allocate a slot``.
    what: str
    method: str
    #: Below the service's URL, quoted; or a whole URL.
    path: str
    params: Mapping[str, str] | None = None
    #: Sent as JSON.
    body: Any = None
    #: Sent as multipart: by field, file name, content and media type.
    files: Mapping[str, tuple[str, bytes, str]] | None = None
    #: Form fields beside ``files``.
    fields: Mapping[str, str] | None = None
    #: ``Idempotency-Key``.
    key: str | None = None
    #: ``X-Necrocode-Epoch``.
    epoch: int | None = None
    #: The version that is changed (``If-Match``).
    version: int | None = None
    #: Of the whole call, to which comes what its bytes need at :data:`necrocode.deadlines.SLOWEST`; ``None``: the
    #: service's own.
    timeout: timedelta | None = None
    max_bytes: int = MAX_ANSWER
    #: Statuses beyond 2xx that are an answer, not an error.
    accept: Collection[int] = ()
    #: Whether the answer may be an HTML page.
    html: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    service: str
    what: str
    status: int
    media_type: str
    content: bytes
    mask: Callable[[str], str] = str

    def mapping(self) -> Mapping[str, Any]:
        """The JSON object in the body. Raises :class:`EnvironmentFault` for anything else."""
        if not self.content.strip():
            raise self.bad(f"the answer ({self.status}) has no body")
        try:
            value = json.loads(self.content)
        except (ValueError, RecursionError):
            raise self.bad("the answer is not JSON") from None
        if not isinstance(value, dict):
            raise self.bad(f"the answer must be a JSON object, not {_kind(value)}")
        return value

    @property
    def code(self) -> str:
        """The ``error.code`` of a refusal as our own services put it; empty if there is none."""
        with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError):
            return str(json.loads(self.content)["error"]["code"])
        return ""

    def text(self, field: str) -> str:
        """The non-empty text in ``field`` of the JSON object. Raises :class:`EnvironmentFault`."""
        value = self.mapping().get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.bad(f"field {field!r} of the answer must be text, not {_kind(value)}")
        if _sound(value) != value:
            raise self.bad(f"field {field!r} of the answer holds half a character")
        return value

    def bad(self, problem: str) -> EnvironmentFault:
        """The error that says what is wrong with this answer."""
        words = _bounded(self.mask(_sound(problem)), _MAX_PROBLEM)
        return EnvironmentFault(f"{self.service}: {self.what}: {words}", stop_reason="service_bad_answer")


class Service:
    """One service: its URL, its token, and calls to it. Never retries, never follows a redirect.

    Errors: :class:`Unreached` where no connection was made (refused, no such host), so that nothing was sent;
    :class:`Transient` for the rest of the network, 408, 425, 429 and 5xx (``Retry-After`` in ``retry_after``);
    :class:`NotFound` for 404; :class:`EnvironmentFault` for 401 and 403 (``service_auth``), a run that another process
    drives by now (``superseded``), any other refusal (``service_request``), answers of a wrong shape
    (``service_bad_answer``) and certificates that are not trusted (``service_tls``). Each names service, call and
    status and repeats the server's words, bounded and masked. Safe between threads.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        token: Token = None,
        timeout: timedelta = timedelta(seconds=30),
        mask: Callable[[str], str] = str,
    ) -> None:
        """``name`` is for people: ``task registry``. Raises ``ValueError`` for what is no http or https URL."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{name}: {base_url!r} is not a URL such as https://host:port/path")
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._origin = _origin(base_url)
        self._token: Callable[[], str | None] = token if callable(token) else lambda: token
        self._timeout = timeout
        self._mask = mask
        self._loopback = parts.hostname in _LOOPBACK
        self._client: httpx.Client | None = None
        self._deadline: Deadline | None = None
        self._lock = threading.Lock()

    def call(self, call: Call) -> Answer:
        """Make one attempt at ``call``."""
        import httpx

        url = call.path if "://" in call.path else self.base_url + call.path
        timeout = call.timeout or self._timeout
        client, deadline = self._http(call)
        deadline.begin(timeout)
        try:
            with client.stream(
                call.method,
                url,
                params=dict(call.params) if call.params else None,
                json=call.body,
                files=dict(call.files) if call.files else None,
                data=dict(call.fields) if call.fields else None,
                headers=self._headers(call, url),
                timeout=timeout.total_seconds(),
            ) as response:
                content = self._read(response, call)
        except httpx.InvalidURL as error:
            raise EnvironmentFault(
                self._say(call, f"{url} is not a URL: {error}"), stop_reason="service_request"
            ) from error
        except httpx.RequestError as error:
            raise self._unreachable(call, url, timeout, error) from error
        media_type = response.headers.get("content-type", "").lower()
        answer = Answer(self.name, call.what, response.status_code, media_type, content, self._mask)
        if not response.is_success and response.status_code not in call.accept:
            raise self.refused(call, answer, response.headers)
        if response.is_success and "html" in answer.media_type and not call.html:
            # also where nobody reads it: such a page takes no write (of a refusal, the status says enough)
            raise answer.bad(
                f"the answer ({answer.status}) is an HTML page: is there a login page or a proxy in between, or is the "
                "URL wrong?"
            )
        return answer

    def health_check(self) -> None:
        """``GET /health``. Raises as :meth:`call` does."""
        self.call(Call("check its health", "GET", "/health"))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def refused(self, call: Call, answer: Answer, headers: Mapping[str, str] | None = None) -> EnvironmentFault:
        """The error that an answer with such a status is."""
        headers = headers or {}
        status = answer.status
        message = self._say(call, f"answered {status}{self._words(answer)}")
        if status in RETRIED or status >= 500:
            return Transient(message, retry_after=retry_after(headers.get("retry-after", "")))
        if status in (401, 403):
            token = "was refused" if self._token() else "is not set"
            return EnvironmentFault(f"{message} (the token {token})", stop_reason="service_auth")
        if 300 <= status < 400:
            to = self._mask(headers.get("location", "nowhere"))[:_MAX_WORDS]
            return EnvironmentFault(
                f"{message}: it redirects to {to}; set that URL instead", stop_reason="service_request"
            )
        if status == 404:
            return NotFound(message, stop_reason="service_request")
        if answer.code == "superseded":
            return EnvironmentFault(message, stop_reason="superseded")
        return EnvironmentFault(message, stop_reason="service_request")

    def _http(self, call: Call) -> tuple[httpx.Client, Deadline]:
        import httpx

        from necrocode.deadlines import Deadline, bound

        with self._lock:
            if self._client is None or self._deadline is None:
                try:
                    # a proxy from the environment can't reach our own loopback; certificates that it trusts do count
                    self._client = httpx.Client(
                        verify=httpx.create_ssl_context(), follow_redirects=False, trust_env=not self._loopback
                    )
                except (ImportError, ValueError, OSError) as error:
                    words = f"the proxy or the certificates that the environment names cannot be used: {error}"
                    raise EnvironmentFault(self._say(call, words), stop_reason="service_request") from error
                self._deadline = Deadline()
                bound(self._client, self._deadline)
            return self._client, self._deadline

    def _headers(self, call: Call, url: str) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "necrocode"}
        # an artifact's URI may lie elsewhere: nobody else gets the token
        token = self._token()
        if token and _origin(url) == self._origin:
            headers["Authorization"] = f"Bearer {token}"
        if call.key is not None:
            headers["Idempotency-Key"] = quote(call.key, safe="!#$&'()*+,-./:;=?@[]^_`{|}~ ")
        if call.epoch is not None:
            headers["X-Necrocode-Epoch"] = str(call.epoch)
        if call.version is not None:
            headers["If-Match"] = f'"{call.version}"'
        return headers

    def _read(self, response: httpx.Response, call: Call) -> bytes:
        content = bytearray()
        for piece in response.iter_bytes():
            content += piece
            if len(content) > call.max_bytes:
                if not response.is_success:
                    break
                raise EnvironmentFault(
                    self._say(call, f"the answer is larger than {call.max_bytes:,} bytes"),
                    stop_reason="service_bad_answer",
                )
        return bytes(content[: call.max_bytes])

    def _unreachable(self, call: Call, url: str, timeout: timedelta, error: httpx.RequestError) -> EnvironmentFault:
        import httpx

        words = str(error) or type(error).__name__
        where = _origin(url)
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return EnvironmentFault(
                    self._say(call, f"the certificate of {where} is not trusted: {words}"), stop_reason="service_tls"
                )
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.UnsupportedProtocol | httpx.DecodingError):
            return EnvironmentFault(self._say(call, words), stop_reason="service_bad_answer")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Unreached(self._say(call, f"cannot reach {where}: {words}"))
        if isinstance(error, httpx.TimeoutException):
            return Transient(self._say(call, f"no answer from {where} within {timeout.total_seconds():g} s"))
        return Transient(self._say(call, f"cannot reach {where}: {words}"))

    def _words(self, answer: Answer) -> str:
        """What the server itself says, for people."""
        if "html" in answer.media_type:
            return " with an HTML page"
        text = answer.content.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, RecursionError):
            text = _said(json.loads(text)) or text
        text = server_words(_sound(text), self._mask)
        return f": {text}" if text else ""

    def _say(self, call: Call, text: str) -> str:
        return self._mask(f"{self.name}: {call.what}: {text}")


def server_words(text: str, mask: Callable[[str], str]) -> str:
    """A server's own words as they go into an error: masked, on one line, bounded."""
    # masked before it is cut: half a secret would not be recognised
    return _bounded(re.sub(r"[\s\x00-\x1f\x7f]+", " ", mask(text)).strip(), _MAX_WORDS)


def retry_after(value: str, now: datetime | None = None) -> timedelta | None:
    """The wait that a ``Retry-After`` header asks for: seconds or an HTTP date; ``None`` if it says nothing."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return timedelta(seconds=float(value))
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(timedelta(0), at - (now or datetime.now(UTC)))


def segment(text: str) -> str:
    """``text`` as one segment of a path."""
    # a dot segment would be taken out of the path on the way
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def unix_seconds(at: datetime) -> float:
    """``at`` as the services take it."""
    return at.timestamp()


def _said(value: Any) -> str:
    """The words in an error's JSON: ``detail``, ``message``, ``error`` or ``title``, at the top or one below."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        for name in ("detail", "message", "error", "title"):
            found = _said(value.get(name))
            if found:
                return found
    return ""


def _sound(text: str) -> str:
    """``text`` without halves of characters, as JSON may hold them: nobody could write them down."""
    return text.encode("utf-8", "replace").decode()


def _bounded(text: str, size: int) -> str:
    return text if len(text) <= size else text[:size] + "…"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return {dict: "an object", list: "a list", str: "empty text", bool: "true or false"}.get(type(value), "a number")
