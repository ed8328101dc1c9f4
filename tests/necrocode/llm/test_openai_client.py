"""``OpenAIChat`` against a real server on loopback: every failure has its class, and a stop is heard at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from necrocode.engine.errors import EngineError, EnvironmentFault, Interrupted, StopTriggered, TaskError, Transient
from necrocode.engine.stop import StopToken
from necrocode.llm import NotSpent, OpenAIChat
from necrocode.llm.faults import retry_after
from necrocode.scripted import ScriptedServer
from necrocode.states.ports import ChatAnswer, ChatRequest, ToolCall

KEY = "sk-test-0123456789abcdef"
HELLO = ChatRequest(messages=[{"role": "user", "content": "hello"}])
SECONDS = timedelta(seconds=20)


def ask(url: str, *, key: str | None = KEY, request: ChatRequest = HELLO, timeout: timedelta = SECONDS) -> ChatAnswer:
    client = OpenAIChat(model="m", api_key=lambda: key, endpoint=url, mask=lambda text: text.replace(KEY, "***"))
    try:
        return client.complete(request, key="effect-1", timeout=timeout, stop=StopToken())
    finally:
        client.close()


def fail(*faults: dict[str, Any], timeout: timedelta = SECONDS, request: ChatRequest = HELLO) -> EngineError:
    """The error that ``faults`` lead to, and nothing but one request was made."""
    with ScriptedServer({"answers": [{"text": "never", "faults": list(faults), "always": True}]}) as server:
        with pytest.raises(EngineError) as caught:
            ask(server.url, timeout=timeout, request=request)
        assert len(server.requests) == 1, "the client must not retry by itself"
    return caught.value


def status(code: int, message: str = "no", error_code: str | None = None, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"status": code, "headers": named, "body": {"error": {"message": message, "code": error_code}}}


def test_a_whole_answer_comes_back_with_calls_and_usage() -> None:
    script = {
        "model": "scripted-1",
        "answers": [
            {
                "text": "Let me look.",
                "tool_calls": [{"name": "read_file", "arguments": '{"path": "a.py"}'}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7},
            }
        ],
    }
    with ScriptedServer(script) as server:
        answer = ask(server.url)
    assert answer == ChatAnswer(
        text="Let me look.",
        tool_calls=(ToolCall("call_0_0", "read_file", '{"path": "a.py"}'),),
        finish_reason="tool_calls",
        tokens_in=11,
        tokens_out=7,
        model="scripted-1",
    )


def test_the_request_carries_the_key_the_idempotency_key_and_what_was_asked() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    request = ChatRequest(HELLO.messages, tools, max_tokens=77, response_format={"type": "json_object"})
    with ScriptedServer({"key": KEY, "answers": [{"text": "hi"}]}) as server:
        ask(server.url, request=request)
        (seen,) = server.requests
    assert seen.idempotency_key == "effect-1"
    assert seen.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 77,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": tools,
        "response_format": {"type": "json_object"},
    }


def test_without_usage_the_figures_are_estimates_and_say_so() -> None:
    with ScriptedServer({"answers": [{"text": "twelve bytes", "usage": None}]}) as server:
        answer = ask(server.url)
    assert answer.estimated
    assert answer.tokens_out == 3
    assert answer.tokens_in > 0


@pytest.mark.parametrize(
    ("fault", "kind", "stop_reason"),
    [
        (status(401, "Incorrect API key"), EnvironmentFault, "llm_auth"),
        (status(403), EnvironmentFault, "llm_auth"),
        (status(400, "unknown parameter"), EnvironmentFault, "llm_request"),
        (status(404, "no such model"), EnvironmentFault, "llm_request"),
        (status(422), EnvironmentFault, "llm_request"),
        (status(501), EnvironmentFault, "llm_request"),
        (status(402, "Insufficient balance"), EnvironmentFault, "llm_quota"),
        (status(429, "You exceeded your quota", "insufficient_quota"), EnvironmentFault, "llm_quota"),
        (status(429, "slow down"), Transient, "llm_unavailable"),
        (status(408), Transient, "llm_unavailable"),
        (status(409), Transient, "llm_unavailable"),
        (status(500), Transient, "llm_unavailable"),
        (status(502), Transient, "llm_unavailable"),
        (status(529), Transient, "llm_unavailable"),
        (status(400, "too long", "context_length_exceeded"), TaskError, "context_overflow"),
        (status(400, "This model's maximum context length is 8192 tokens"), TaskError, "context_overflow"),
        (status(413, "Request too large"), TaskError, "context_overflow"),
        ({"status": 307, "headers": {"Location": "/elsewhere"}}, EnvironmentFault, "llm_request"),
        ({"cut": True}, Transient, "llm_unavailable"),
        ({"hang_seconds": 0.01}, Transient, "llm_unavailable"),
        ({"raw": "<html>gateway</html>"}, Transient, "llm_bad_answer"),
        ({"raw": ""}, Transient, "llm_bad_answer"),
        ({"raw": "[1]"}, Transient, "llm_bad_answer"),
        ({"body": {"id": "x"}}, Transient, "llm_bad_answer"),
        ({"body": {"choices": []}}, Transient, "llm_bad_answer"),
        ({"body": {"choices": [{}]}}, Transient, "llm_bad_answer"),
        ({"body": {"choices": ["x"]}}, Transient, "llm_bad_answer"),
        ({"body": {"error": {"code": 502, "message": "upstream"}}}, Transient, "llm_unavailable"),
        ({"body": {"error": {"code": 401, "message": "user not found"}}}, EnvironmentFault, "llm_auth"),
    ],
)
def test_each_failure_has_its_class(fault: dict[str, Any], kind: type[EngineError], stop_reason: str) -> None:
    error = fail(fault)
    assert isinstance(error, kind)
    assert isinstance(error, Transient) == (kind is Transient)
    assert getattr(error, "stop_reason", None) == stop_reason


def test_an_attempt_that_cannot_have_cost_anything_says_so() -> None:
    assert isinstance(fail(status(429)), NotSpent)
    assert not isinstance(fail(status(500)), NotSpent)
    assert not isinstance(fail({"cut": True}), NotSpent)


def test_no_key_names_the_variable_to_set_and_asks_nobody() -> None:
    with ScriptedServer({"answers": []}) as server:
        with pytest.raises(EnvironmentFault, match="set LLM_API_KEY") as caught:
            ask(server.url, key="  ")
        assert server.requests == []
    assert caught.value.stop_reason == "llm_auth"


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    with pytest.raises(EnvironmentFault, match="LLM_API_KEY") as caught:
        ask("http://127.0.0.1:9/v1", key="sk-\nabc")
    assert caught.value.stop_reason == "llm_auth"
    assert "abc" not in str(caught.value)


def test_nobody_listening_is_transient_and_free() -> None:
    with ScriptedServer({"answers": []}) as server:
        url = server.url
    with pytest.raises(NotSpent, match="cannot be reached"):
        ask(url)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8000/v1", "ftp://127.0.0.1/v1", "http://"])
def test_an_address_that_is_none_is_a_fault_that_names_the_setting(endpoint: str) -> None:
    with pytest.raises(EnvironmentFault, match="llm_endpoint") as caught:
        ask(endpoint)
    assert caught.value.stop_reason == "llm_request"


def test_the_address_may_name_the_call_too() -> None:
    with ScriptedServer({"answers": [{"text": "hi"}]}) as server:
        assert ask(server.url + "/chat/completions").text == "hi"


def test_messages_hold_a_bounded_excerpt_without_the_key() -> None:
    error = fail({"raw": f"<html>{KEY} " + "x" * 5000})
    assert KEY not in str(error)
    assert "***" in str(error)
    assert len(str(error)) < 700


def test_an_error_keeps_no_trace_of_the_request_that_holds_the_key() -> None:
    error: BaseException | None = fail({"cut": True})
    while error is not None:
        assert not hasattr(error, "request")
        error = error.__cause__ or error.__context__


def test_retry_after_is_passed_on() -> None:
    waits = [
        fail(status(429, Retry_After="7")),
        fail(status(503, Retry_After="1.5")),
        fail(status(429, retry_after_ms="250", Retry_After="9")),
        fail(status(429)),
    ]
    found = [error.retry_after for error in waits if isinstance(error, Transient)]
    assert found == [timedelta(seconds=7), timedelta(seconds=1.5), timedelta(milliseconds=250), None]


def test_retry_after_may_be_a_date_and_is_never_negative() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    later, earlier = now + timedelta(minutes=2), now - timedelta(minutes=2)
    assert retry_after({"retry-after": format_datetime(later, usegmt=True)}, lambda: now) == timedelta(minutes=2)
    assert retry_after({"retry-after": format_datetime(earlier, usegmt=True)}, lambda: now) == timedelta(0)


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(value: str) -> None:
    assert retry_after({"retry-after": value}) is None


def test_a_retry_after_beyond_all_measure_is_a_year() -> None:
    assert retry_after({"retry-after": "1e30"}) == timedelta(days=366)


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    begun = time.monotonic()
    error = fail({"hang_seconds": 60}, timeout=timedelta(seconds=0.4))
    assert isinstance(error, Transient)
    assert not isinstance(error, NotSpent)
    assert "within 0.4 s" in str(error)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("signal", [Interrupted("ctrl-c"), StopTriggered("cancel", "asked", stop_reason="cancelled")])
def test_a_stop_is_heard_in_the_middle_of_a_request(signal: Interrupted | StopTriggered) -> None:
    stop = StopToken()
    with ScriptedServer({"answers": [{"faults": [{"hang_seconds": 60}]}]}) as server:
        client = OpenAIChat(model="m", api_key=lambda: KEY, endpoint=server.url)
        client.preload()
        timer = threading.Timer(0.5, stop.stop, [signal])
        timer.start()
        begun = time.monotonic()
        with pytest.raises(type(signal)):
            client.complete(HELLO, key="k", timeout=timedelta(seconds=60), stop=stop)
        assert time.monotonic() - begun < 10
        # the request's thread ends with it: its connection was shut down under it
        end = time.monotonic() + 5
        while any(thread.name == "llm-request" for thread in threading.enumerate()):
            assert time.monotonic() < end, "the request goes on behind our back"
            time.sleep(0.01)
        timer.join()
        client.close()


def test_a_deadline_that_passes_during_a_request_is_heard() -> None:
    stop = StopToken()
    stop.expire_after(timedelta(seconds=0.5), StopTriggered("deadline", "time is up", stop_reason="deadline"))
    with ScriptedServer({"answers": [{"faults": [{"hang_seconds": 60}]}]}) as server:
        client = OpenAIChat(model="m", api_key=lambda: KEY, endpoint=server.url)
        with pytest.raises(StopTriggered):
            client.complete(HELLO, key="k", timeout=timedelta(seconds=60), stop=stop)
        client.close()


def test_a_stop_asked_for_before_the_request_makes_none() -> None:
    stop = StopToken()
    stop.stop(Interrupted())
    with ScriptedServer({"answers": [{"text": "hi"}]}) as server:
        client = OpenAIChat(model="m", api_key=lambda: KEY, endpoint=server.url)
        with pytest.raises(Interrupted):
            client.complete(HELLO, key="k", timeout=SECONDS, stop=stop)
        assert server.requests == []


def test_after_a_failure_the_same_client_goes_on() -> None:
    faults = [{"cut": True}, status(500), {"raw": "?"}]
    with ScriptedServer({"answers": [{"text": "hi", "faults": faults}]}) as server:
        client = OpenAIChat(model="m", api_key=lambda: KEY, endpoint=server.url)
        for _ in faults:
            with pytest.raises(Transient):
                client.complete(HELLO, key="k", timeout=SECONDS, stop=StopToken())
        assert client.complete(HELLO, key="k", timeout=SECONDS, stop=StopToken()).text == "hi"
        client.close()


def test_a_wiped_key_is_gone_at_the_next_call() -> None:
    keys: list[str | None] = [KEY, None]
    with ScriptedServer({"key": KEY, "answers": [{"text": "hi"}]}) as server:
        client = OpenAIChat(model="m", api_key=lambda: keys.pop(0), endpoint=server.url)
        client.complete(HELLO, key="k", timeout=SECONDS, stop=StopToken())
        with pytest.raises(EnvironmentFault):
            client.complete(HELLO, key="k", timeout=SECONDS, stop=StopToken())
        client.close()


def test_one_client_serves_several_threads() -> None:
    with ScriptedServer({"answers": [{"text": "hi", "delay_seconds": 0.05}]}) as server:
        client = OpenAIChat(model="m", api_key=lambda: KEY, endpoint=server.url)
        answers: list[str] = []

        def work() -> None:
            answers.append(client.complete(HELLO, key="k", timeout=SECONDS, stop=StopToken()).text)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert answers == ["hi"] * 8


def test_a_proxy_in_the_environment_is_passed_over_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with ScriptedServer({"answers": [{"text": "hi"}]}) as server:
        assert ask(server.url).text == "hi"


def test_a_server_that_wants_the_limit_under_its_newer_name_gets_it() -> None:
    refused = status(
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    )
    with ScriptedServer({"answers": [{"text": "hi", "faults": [refused]}]}) as server:
        client = OpenAIChat(model="m", api_key=lambda: KEY, endpoint=server.url)
        for _ in range(2):
            assert client.complete(HELLO, key="k", timeout=SECONDS, stop=StopToken()).text == "hi"
        client.close()
        names = [{"max_tokens", "max_completion_tokens"} & set(request.body) for request in server.requests]
    assert names == [{"max_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}]


def test_odd_messages_are_read_as_they_are_meant() -> None:
    message = {
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "tool_calls": [
            {"function": {"name": "f", "arguments": {"x": 1}}},
            {"id": "i", "function": {"name": "g", "arguments": None}},
            {"id": "j"},
            "nonsense",
        ],
    }
    body = {"choices": [{"message": message, "finish_reason": None}], "usage": {"prompt_tokens": "many"}}
    with ScriptedServer({"answers": [{"faults": [{"body": body}]}]}) as server:
        answer = ask(server.url)
    assert answer.text == "ab"
    assert answer.finish_reason == "stop"
    assert answer.estimated
    assert answer.tool_calls == (
        ToolCall("", "f", '{"x": 1}'),
        ToolCall("i", "g", ""),
        ToolCall("j", "", ""),
        ToolCall("", "", ""),
    )


MAKING = """
import time
from necrocode.llm import openai_client

class Line:
    def __init__(self, _):
        time.sleep(0.3)
        print("made")

openai_client.Line = Line
openai_client.OpenAIChat(model="m", api_key=lambda: "k", endpoint="http://127.0.0.1:1/v1").preload()
"""


def test_a_process_that_ends_while_a_line_is_made_waits_for_it() -> None:
    # in the middle of reading certificates, the end of the process would be a segmentation fault
    ended = subprocess.run([sys.executable, "-c", MAKING], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "made\n", "")
