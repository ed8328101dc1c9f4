"""What an object store's errors mean, in the engine's terms.

obstore has a class for few of them; for the others, what counts is the status or the cause in their text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from necrocode.engine.errors import EnvironmentFault, Transient, Unreached
from necrocode.errors import NotFound
from necrocode.rest import RETRIED, server_words

_STATUS = re.compile(r"status code: (\d{3})")
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist", re.IGNORECASE)
_NO_LOGIN = re.compile(
    r"Missing (AccessKeyId|SecretAccessKey)|[Cc]redential|metadata server|service account|oauth", re.I
)
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_NETWORK = re.compile(r"HTTP error|reqwest::Error|hyper")


def fault_of(error: Exception, *, store: str, what: str, timeout: str, mask: Callable[[str], str]) -> EnvironmentFault:
    """The fault that ``error``, raised by obstore, is; ``store`` is the store's URL, ``what`` the call in words.

    :class:`Unreached` where no connection was made, :class:`Transient` for the rest of the network, 408, 425, 429 and
    5xx; :class:`NotFound` for an object that is not there; else :class:`EnvironmentFault`: ``service_auth`` for 401,
    403 and missing credentials, ``service_tls``, ``service_request`` for a bucket that is not there and any other
    refusal, ``service_bad_answer``.
    """
    shown, _, debug = str(error).partition("\n\nDebug source:")

    def say(text: str) -> str:
        return mask(f"artifact store {store}: {what}: {text}")

    found = _STATUS.search(shown)
    status = int(found[1]) if found else 404 if isinstance(error, FileNotFoundError) else None
    if status is not None:
        words = say(f"answered {status}{_words(shown, mask)}")
        # 501: a server that cannot put an object only where none is
        if status in RETRIED or (status >= 500 and status != 501):
            return Transient(words)
        if status in (401, 403):
            return EnvironmentFault(
                f"{words} (are the credentials in the environment right, and may they do this?)",
                stop_reason="service_auth",
            )
        if status == 404 and not _NO_BUCKET.search(shown):
            return NotFound(words, stop_reason="service_request")
        return EnvironmentFault(words, stop_reason="service_request")
    if "Received redirect" in shown:
        words = say("it redirects: the bucket is in another region (AWS_REGION), or the endpoint is wrong")
        return EnvironmentFault(words, stop_reason="service_request")
    certificate = _CERTIFICATE.search(debug)
    if certificate is not None:
        words = say(f"the certificate of {_origin(shown)} is not trusted: {certificate[1]}")
        return EnvironmentFault(words, stop_reason="service_tls")
    if "kind: Timeout" in debug or "TimedOut" in debug:
        return Transient(say(f"no answer from {_origin(shown)} within {timeout}"))
    if "kind: Connect," in debug:
        return Unreached(say(f"cannot reach {_origin(shown)}: {_cause(debug)}"))
    if _NETWORK.search(shown + debug):
        return Transient(say(f"cannot reach {_origin(shown)}: {_cause(debug)}"))
    words = say(server_words(shown, mask))
    if _NO_LOGIN.search(shown):
        return EnvironmentFault(f"{words} (are the credentials in the environment right?)", stop_reason="service_auth")
    return EnvironmentFault(words, stop_reason="service_bad_answer")


def _words(shown: str, mask: Callable[[str], str]) -> str:
    """What the server itself says, for people."""
    if "<html" in shown.lower():
        return " with an HTML page"
    code, message = (re.search(rf"<{name}>(.*?)</{name}>", shown, re.DOTALL) for name in ("Code", "Message"))
    if code or message:
        return f": {server_words(': '.join(part[1] for part in (code, message) if part), mask)}"
    body = shown.partition(" - Server returned non-2xx status code: ")[2].partition(": ")[2]
    return f": {server_words(body, mask)}" if body.strip() else ""


def _origin(shown: str) -> str:
    found = re.search(r"https?://[^/\s]+", shown)
    return found[0] if found else "it"


def _cause(debug: str) -> str:
    """The innermost cause that is put in words."""
    found = re.findall(r'(?:message|error): "([^"]{1,200})"', debug) or re.findall(r'"([^"]{1,200})"', debug)
    return found[-1] if found else "the connection was lost"
