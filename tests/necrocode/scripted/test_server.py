"""The scripted server answers by place in the conversation, and plays the faults it is told to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from necrocode.scripted import Script, ScriptedServer, ScriptError


def post(server: ScriptedServer, messages: list[dict[str, Any]], **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        body = json.dumps({"model": "m", "messages": messages})
        connection.request("POST", "/v1/chat/completions", body, headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def talk(turns: int, opening: str = "hello") -> list[dict[str, Any]]:
    """A conversation in which the model has spoken ``turns`` times."""
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": opening}]
    for _ in range(turns):
        said += [{"role": "assistant", "content": "x"}, {"role": "user", "content": "go on"}]
    return said


def test_the_answer_depends_on_the_place_in_the_conversation_and_not_on_the_number_of_requests() -> None:
    with ScriptedServer({"answers": [{"text": "one"}, {"text": "two"}]}) as server:
        answers = [post(server, talk(turns))[1]["choices"][0]["message"]["content"] for turns in (1, 0, 1, 1)]
    assert answers == ["two", "one", "two", "two"]
    assert server.answered == [1, 0, 1, 1]


def test_tool_calls_carry_ids_and_arguments_as_text() -> None:
    script = {
        "answers": [{"tool_calls": [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": "{broken"}]}]
    }
    with ScriptedServer(script) as server:
        choice = post(server, talk(0))[1]["choices"][0]
    calls = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert [call["function"]["arguments"] for call in calls] == ['{"x": 1}', "{broken"]
    assert len({call["id"] for call in calls}) == 2


def test_past_the_end_of_the_script_the_request_is_refused_for_good() -> None:
    with ScriptedServer({"answers": [{"text": "one"}]}) as server:
        status, body = post(server, talk(1))
    assert (status, body["error"]["code"]) == (404, "script_ended")


def test_a_script_without_end_repeats_its_last_answer() -> None:
    with ScriptedServer({"answers": [{"text": "one"}, {"text": "again"}], "forever": True}) as server:
        assert post(server, talk(70))[1]["choices"][0]["message"]["content"] == "again"


def test_several_conversations_are_told_apart_by_what_they_begin_with() -> None:
    script = {
        "conversations": [
            {"when": "task 7", "answers": [{"text": "seven"}]},
            {"when": "", "answers": [{"text": "other"}]},
        ]
    }
    with ScriptedServer(script) as server:
        assert post(server, talk(0, "do task 7"))[1]["choices"][0]["message"]["content"] == "seven"
        assert post(server, talk(0, "do task 8"))[1]["choices"][0]["message"]["content"] == "other"


def test_faults_come_before_the_answer_of_their_place() -> None:
    fault = {"status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"message": "slow down"}}}
    with ScriptedServer({"answers": [{"text": "one", "faults": [fault]}]}) as server:
        assert post(server, talk(0))[0] == 429
        assert post(server, talk(0))[0] == 200
        assert [request.served for request in server.requests] == ["fault", "answer"]


def test_an_answer_may_fail_for_ever() -> None:
    with ScriptedServer({"answers": [{"faults": [{"status": 500}], "always": True}]}) as server:
        assert [post(server, talk(0))[0] for _ in range(3)] == [500, 500, 500]


def test_an_answer_can_be_cut_in_the_middle() -> None:
    with (
        ScriptedServer({"answers": [{"faults": [{"cut": True}]}]}) as server,
        pytest.raises(http.client.IncompleteRead),
    ):
        post(server, talk(0))


def test_a_wrong_key_is_refused() -> None:
    with ScriptedServer({"key": "right", "answers": [{"text": "one"}]}) as server:
        assert post(server, talk(0), Authorization="Bearer wrong")[0] == 401
        assert post(server, talk(0), Authorization="Bearer right")[0] == 200


def test_what_was_asked_is_recorded() -> None:
    with ScriptedServer({"answers": [{"text": "one"}]}) as server:
        post(server, talk(0), **{"Idempotency-Key": "k-1"})
        (seen,) = server.requests
    assert (seen.position, seen.idempotency_key, seen.served) == (0, "k-1", "answer")
    assert seen.body["messages"][1]["content"] == "hello"


def test_closing_does_not_wait_for_a_scripted_silence() -> None:
    begun = time.monotonic()
    with ScriptedServer({"answers": [{"faults": [{"hang_seconds": 60}]}]}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/v1/chat/completions", json.dumps({"messages": talk(0)}))
    connection.close()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ({"answers": [{"txt": "one"}]}, "answer 0 has unknown keys: txt"),
        ({"answers": [{"faults": [{"stats": 1}]}]}, "unknown keys: stats"),
        ({"answers": [{"tool_calls": [{}]}]}, "needs a name"),
        ({"answer": []}, "unknown keys: answer"),
        ({}, "answers is not a list"),
        ({"answers": [{"always": True}]}, "always needs a fault"),
    ],
)
def test_a_script_with_a_mistake_is_refused_with_its_place(script: dict[str, Any], says: str) -> None:
    with pytest.raises(ScriptError, match=says):
        Script.load(script)


def test_it_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    script, port_file, log = tmp_path / "script.json", tmp_path / "port", tmp_path / "log"
    script.write_text(json.dumps({"answers": [{"text": "one"}]}))
    command = [
        sys.executable,
        "-m",
        "necrocode.scripted",
        str(script),
        "--port-file",
        str(port_file),
        "--log",
        str(log),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, env=environment) as process:
        try:
            end = time.monotonic() + 30
            while not port_file.exists() and time.monotonic() < end:
                time.sleep(0.02)
            connection = http.client.HTTPConnection("127.0.0.1", int(port_file.read_text()), timeout=10)
            connection.request("POST", "/v1/chat/completions", json.dumps({"messages": talk(0)}))
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
    assert json.loads(log.read_text()) == {
        "position": 0,
        "conversation": 0,
        "served": "answer",
        "idempotency_key": "",
    }
