"""The call: what a service's every misbehaviour turns into."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from necrocode.engine.errors import EnvironmentFault, Transient, Unreached
from necrocode.errors import NotFound
from necrocode.masking import Masker
from necrocode.rest import Call, Service, retry_after, segment
from tests.necrocode.loopback import Loopback, Request, Response, serve

TOKEN = "Kq7-0123456789-abcdef"
ASK = Call("get the thing", "GET", "/thing")


@pytest.fixture
def answering() -> Iterator[Callable[[Response], tuple[Service, Loopback]]]:
    """Makes a service that gives one answer to everything."""
    given: list[Response] = []
    with serve(lambda _: given[-1]) as server:

        def make(response: Response) -> tuple[Service, Loopback]:
            given.append(response)
            service = Service("task registry", server.url, token=TOKEN, mask=Masker({"token": TOKEN}).mask)
            made.append(service)
            return service, server

        made: list[Service] = []
        yield make
        for service in made:
            service.close()


Answering = Callable[[Response], tuple[Service, Loopback]]


def test_a_call_carries_token_key_and_epoch(answering: Answering) -> None:
    service, server = answering(Response(body={"a": 1}))
    answer = service.call(Call("write", "PUT", "/x/" + segment("a/b ä"), body={"b": 2}, key="k-ä", epoch=7))
    (request,) = server.requests
    assert answer.mapping() == {"a": 1}
    assert (request.method, request.path, request.json()) == ("PUT", ("x", "a/b ä"), {"b": 2})
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["idempotency-key"] == "k-%C3%A4"
    assert request.headers["x-necrocode-epoch"] == "7"


def test_a_call_without_key_and_epoch_says_none(answering: Answering) -> None:
    service, server = answering(Response())
    service.call(ASK)
    assert not {"idempotency-key", "x-necrocode-epoch"} & server.requests[0].headers.keys()


def test_another_origin_never_gets_the_token() -> None:
    with serve(lambda _: Response()) as own, serve(lambda _: Response()) as foreign:
        service = Service("store", own.url, token=TOKEN)
        service.call(Call("get", "GET", f"{foreign.url}/x"))
        service.call(Call("get", "GET", f"{own.url}/x"))
        service.close()
    assert "authorization" not in foreign.requests[0].headers
    assert "authorization" in own.requests[0].headers


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_transient(answering: Answering, status: int) -> None:
    service, _ = answering(Response(status, {"detail": "later"}, {"Retry-After": "17"}))
    with pytest.raises(Transient, match=f"task registry: get the thing: answered {status}: later") as caught:
        service.call(ASK)
    assert caught.value.retry_after == timedelta(seconds=17)
    assert caught.value.stop_reason == "service_unavailable"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "service_request"), (401, "service_auth"), (403, "service_auth"), (404, "service_request")]
    + [(status, "service_request") for status in (405, 409, 410, 413, 422, 451)],
)
def test_a_refusal_is_permanent_and_says_why(answering: Answering, status: int, reason: str) -> None:
    service, server = answering(Response(status, {"error": {"message": "not  like\nthis"}}))
    with pytest.raises(
        EnvironmentFault, match=f"task registry: get the thing: answered {status}: not like this"
    ) as caught:
        service.call(ASK)
    assert not isinstance(caught.value, Transient)
    assert isinstance(caught.value, NotFound) == (status == 404)
    assert caught.value.stop_reason == reason
    assert len(server.requests) == 1


def test_an_accepted_status_is_an_answer(answering: Answering) -> None:
    service, _ = answering(Response(409))
    assert service.call(Call("x", "POST", "/x", accept=(409,))).status == 409


def test_a_redirect_is_not_followed_and_named(answering: Answering) -> None:
    service, server = answering(Response(307, headers={"Location": "https://elsewhere.example/thing"}))
    with pytest.raises(EnvironmentFault, match=r"redirects to https://elsewhere.example/thing; set that URL"):
        service.call(ASK)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (Response(204), "has no body"),
        (Response(200), "has no body"),
        (Response(200, b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"}), "HTML page"),
        (Response(200, b"{not json"), "is not JSON"),
        (Response(200, b"[" * 100_000), "is not JSON"),
        (Response(200, b"\xff\xfe\xfd"), "is not JSON"),
        (Response(200, ["a"]), "must be a JSON object, not a list"),
        (Response(200, {}), "field 'uri' of the answer must be text, not missing"),
        (Response(200, {"uri": 5}), "field 'uri' of the answer must be text, not a number"),
        (Response(200, {"uri": " "}), "field 'uri' of the answer must be text, not empty text"),
    ],
)
def test_an_answer_of_a_wrong_shape_names_service_call_and_field(
    answering: Answering, response: Response, problem: str
) -> None:
    service, _ = answering(response)
    with pytest.raises(EnvironmentFault, match=f"task registry: get the thing: .*{problem}") as caught:
        service.call(ASK).text("uri")
    assert caught.value.stop_reason == "service_bad_answer"


def test_the_servers_words_are_masked_and_bounded(answering: Answering) -> None:
    # the token lies across the place where the words are cut
    service, _ = answering(Response(422, ("x" * 290 + TOKEN + "y" * 5000).encode()))
    with pytest.raises(EnvironmentFault) as caught:
        service.call(ASK)
    text = str(caught.value)
    assert len(text) < 400
    assert "x***y" in text
    assert TOKEN[:6] not in text


def test_a_body_beyond_the_limit_is_refused(answering: Answering) -> None:
    service, _ = answering(Response(200, b"x" * 2_000_000))
    with pytest.raises(EnvironmentFault, match="larger than 1,000,000 bytes"):
        service.call(Call("get", "GET", "/x", max_bytes=1_000_000))


def test_a_cut_answer_is_transient(answering: Answering) -> None:
    service, _ = answering(Response(200, b'{"a":', cut=100))
    with pytest.raises(Transient, match=r"cannot reach http://127\.0\.0\.1") as caught:
        service.call(ASK)
    assert not isinstance(caught.value, Unreached), "the server may have done it"


def test_nobody_there_is_transient_and_nothing_can_have_arrived() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    service = Service("repo pool", f"http://127.0.0.1:{port}")
    with pytest.raises(Unreached, match=f"repo pool: check its health: cannot reach http://127.0.0.1:{port}") as caught:
        service.health_check()
    service.close()
    assert isinstance(caught.value, Transient)
    assert caught.value.stop_reason == "service_unavailable"


def test_silence_is_transient_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = Service("repo pool", f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=timedelta(seconds=0.2))
        with pytest.raises(Transient, match=r"no answer from http://127\.0\.0\.1:\d+ within 0\.2 s") as caught:
            service.health_check()
        assert not isinstance(caught.value, Unreached)
        service.close()


def test_an_answer_that_drips_for_ever_ends_at_the_timeout() -> None:
    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not ended.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        service = Service("store", f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=timedelta(seconds=0.3))
        began = time.monotonic()
        with pytest.raises(Transient, match="no answer"):
            service.health_check()
        assert time.monotonic() - began < 5
        ended.set()
        service.close()
        thread.join()


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serve(lambda _: Response()) as server:
        service = Service("store", server.url)
        service.health_check()
        service.close()
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["", "ftp://host/", "http://", "localhost:80", "/path"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL"):
        Service("store", url)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("12", 12),
        ("0.5", 0.5),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("99999999999999999999", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: str, wait: float | None) -> None:
    found = retry_after(header, now=datetime(2026, 11, 22, 10, tzinfo=UTC))
    assert found == (None if wait is None else timedelta(seconds=wait))


def test_segments_cannot_leave_their_place() -> None:
    with serve(lambda _: Response()) as server:
        service = Service("store", server.url)
        for task_id in ("..", "a/../b", "?x#y", "%2e", "1.1"):
            service.call(Call("get", "GET", f"/tasks/{segment(task_id)}/status"))
        service.close()
    assert [request.path for request in server.requests] == [
        ("tasks", task_id, "status") for task_id in ("..", "a/../b", "?x#y", "%2e", "1.1")
    ]


def test_many_threads_share_a_service() -> None:
    def echo(request: Request) -> Response:
        return Response(body={"n": request.query["n"]})

    found: list[Any] = []
    with serve(echo) as server:
        service = Service("store", server.url)

        def ask(n: int) -> None:
            found.append((n, service.call(Call("get", "GET", "/", params={"n": str(n)})).text("n")))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        service.close()
    assert sorted(found) == [(n, str(n)) for n in range(16)]
