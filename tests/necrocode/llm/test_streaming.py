"""Streamed answers: put together to what an endpoint without streams would have said, or refused as it would be."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.engine.stop import StopToken
from necrocode.llm import OpenAIChat
from necrocode.llm.streaming import Broken, Whole
from necrocode.scripted import ScriptedServer
from necrocode.scripted.server import chunks
from necrocode.states.ports import ChatAnswer, ChatRequest, ToolCall

HELLO = ChatRequest(messages=[{"role": "user", "content": "hello"}])
CALLS = [{"name": "f", "arguments": {"x": "é" * 500}}, {"name": "g", "arguments": {}}]


class Raw(ThreadingHTTPServer):
    """Answers every request with the same bytes, and counts connections and requests."""

    daemon_threads = True

    def __init__(self, body: bytes, *, lingering: bool = False, refused: tuple[str, ...] = ()) -> None:
        self.body, self.lingering, self.refused = body, lingering, refused
        self.connections = 0
        self.asked: list[dict[str, Any]] = []
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client may hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Raw

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        refused = next((name for name in self.server.refused if name in asked), None)
        if refused is not None:
            self._send(400, "application/json", json.dumps({"error": {"message": f"no {refused} here"}}).encode())
            return
        self._send(200, "text/event-stream", self.server.body)

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))
        if self.server.lingering:
            self.wfile.flush()
            self.server.over.wait(30)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@contextmanager
def raw(*events: object, done: bool = True, **more: Any) -> Iterator[Raw]:
    """A server that streams ``events`` (JSON, or bytes as they are)."""
    written = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    body = b"".join(b"data: " + event + b"\n\n" for event in [*written, *([b"[DONE]"] if done else [])])
    server = Raw(body, **more)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def ask(url: str, times: int = 1, **more: Any) -> ChatAnswer:
    client = OpenAIChat(model="m", api_key=lambda: "a-key", endpoint=url, **more)
    try:
        for _ in range(times):
            answer = client.complete(HELLO, key="k", timeout=timedelta(seconds=20), stop=StopToken())
        return answer
    finally:
        client.close()


@pytest.mark.parametrize("index", [[], {}, "0", True])
def test_an_index_that_is_none_is_passed_over(index: Any) -> None:
    whole = Whole()
    whole.add(chunk({"tool_calls": [{"index": index, "id": "a", "function": {"name": "f"}}]}, "tool_calls"))
    (call,) = whole.completion()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "f"


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


END = chunk({}, "stop")


def test_an_answer_is_the_same_with_and_without_a_stream() -> None:
    script = {"answers": [{"text": "words " * 300, "tool_calls": CALLS, "usage": {"prompt_tokens": 7}}]}
    with ScriptedServer(script) as server:
        streamed, whole = ask(server.url), ask(server.url, stream=False)
    assert streamed == whole
    assert [request.body.get("stream") for request in server.requests] == [True, None]


def test_the_connection_is_kept_from_one_streamed_answer_to_the_next() -> None:
    with raw(chunk({"content": "hi"}), END) as server:
        assert ask(server.url, times=3).text == "hi"
    assert (len(server.asked), server.connections) == (3, 1)


def test_an_endpoint_that_holds_back_the_end_of_a_whole_answer_is_not_waited_for() -> None:
    with raw(chunk({"content": "hi"}), END, lingering=True) as server:
        assert ask(server.url, times=2).text == "hi"
    assert server.connections == 2


def test_it_is_told_how_much_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("necrocode.llm.streaming.TELL", timedelta(0))
    heard: list[int] = []
    with raw(*(chunk({"content": "x" * 10}) for _ in range(5)), END) as server:
        ask(server.url, heard=heard.append)
    assert heard == [10, 20, 30, 40, 50, 50]


@pytest.mark.parametrize("refused", ["stream_options", "stream"])
def test_an_endpoint_that_knows_no_streams_is_asked_without_and_this_is_remembered(refused: str) -> None:
    with raw(chunk({"content": "hi"}), END, refused=(refused,)) as server:
        ask(server.url, times=2)
    assert [refused in asked for asked in server.asked] == [True, False, False] if refused == "stream_options" else True
    assert refused not in server.asked[-1]
    assert len(server.asked) <= 4


def test_an_endpoint_that_ignores_the_wish_for_a_stream_is_understood() -> None:
    body = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}
    with ScriptedServer({"answers": [{"faults": [{"body": body}]}]}) as server:
        assert ask(server.url).text == "whole"


def test_a_stream_that_is_cut_is_no_answer() -> None:
    with ScriptedServer({"answers": [{"faults": [{"cut": True}]}]}) as server, pytest.raises(Transient) as caught:
        ask(server.url)
    assert caught.value.stop_reason == "llm_unavailable"


@pytest.mark.parametrize(
    ("events", "done", "reason"),
    [
        ([chunk({"content": "half"})], False, "llm_bad_answer"),
        ([chunk({"content": "half"})], True, "llm_bad_answer"),
        ([chunk({"content": "half"}), b"{broken"], True, "llm_bad_answer"),
        ([], True, "llm_bad_answer"),
        ([["no", "chunk"], 7, {"choices": "none"}], True, "llm_bad_answer"),
        ([{"error": {"message": "too many", "code": 429}}], True, "llm_unavailable"),
        ([chunk({"content": "half"}), {"error": {"message": "overloaded", "code": 503}}], True, "llm_unavailable"),
        ([{"error": {"message": "overloaded"}}], True, "llm_bad_answer"),
    ],
)
def test_a_stream_that_is_no_whole_answer_is_tried_again(events: list[object], done: bool, reason: str) -> None:
    with raw(*events, done=done) as server, pytest.raises(Transient) as caught:
        ask(server.url)
    assert caught.value.stop_reason == reason


@pytest.mark.parametrize(("code", "kind"), [(401, EnvironmentFault), (413, TaskError)])
def test_an_error_in_a_stream_has_the_class_of_its_code(code: int, kind: type[Exception]) -> None:
    with raw({"error": {"message": "no", "code": code}}) as server, pytest.raises(kind):
        ask(server.url)


def test_reasoning_and_refusals_come_through() -> None:
    thinking = [chunk({"reasoning_content": piece}) for piece in ("let me ", "think")]
    with raw(*thinking, chunk({"refusal": "I will "}), chunk({"refusal": "not."}), END) as server:
        answer = ask(server.url)
    assert (answer.reasoning, answer.refusal, answer.text) == (
        {"reasoning_content": "let me think"},
        True,
        "I will not.",
    )


@pytest.mark.parametrize(
    "deltas",
    [
        # as OpenAI does it
        [
            {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
            {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        ],
        # whole calls, every one of them with the index 0
        [
            {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x": 1}'}}]},
            {"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g", "arguments": ""}}]},
        ],
        # no index at all
        [
            {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x": '}}]},
            {"tool_calls": [{"function": {"arguments": "1}"}}]},
            {"tool_calls": [{"id": "b", "function": {"name": "g"}}]},
        ],
        # the identity again with each piece, and arguments that are no text
        [
            {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]},
            {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": None}}]},
            {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g"}}, "nonsense"]},
        ],
    ],
    ids=["openai", "one index", "no index", "objects"],
)
def test_calls_are_put_together_however_an_endpoint_numbers_them(deltas: list[dict[str, Any]]) -> None:
    with raw(*map(chunk, deltas), chunk({}, "tool_calls")) as server:
        answer = ask(server.url)
    assert answer.tool_calls == (ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", ""))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(text=TEXTS, calls=st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=4), usage=st.booleans())
def test_what_is_cut_into_chunks_is_put_together_again(text: str, calls: list[tuple[str, str]], usage: bool) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(calls)
        ]
    completion = {
        "id": "x",
        "model": "m",
        "created": 0,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1},
    }
    whole = Whole()
    for piece in chunks(completion, usage=usage):
        whole.add(piece)
    if not usage:
        del completion["usage"]
    assert whole.completion() == completion


NAMES = ["choices", "delta", "tool_calls", "function", "arguments", "index", "id", "content", "finish_reason", "usage"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=5))
def test_no_chunk_breaks_it(pieces: list[Any]) -> None:
    whole = Whole()
    for piece in pieces:
        whole.add(piece)
    try:
        json.dumps(whole.completion())
    except Broken as error:
        assert "ended in the middle" in str(error)


def test_a_port_nobody_listens_on_costs_nothing_with_streams_too() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Transient, match="cannot be reached"):
            ask(f"http://127.0.0.1:{free.getsockname()[1]}/v1")
