"""Models and endpoints that refuse, stumble, talk nonsense or do nothing."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, EDIT, FINISH, KEY, SOLVE, Stage, calls


def attempts(stage: Stage) -> list[dict[str, Any]]:
    """The failed attempts at asking the model, as the journal has them."""
    return [payload for entry, payload in stage.entries() if entry.kind == "attempt" and entry.name == "llm.chat"]


def test_without_a_key_the_run_parks_and_says_which_variable_to_set(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    done = stage.necrocode("run", stage.task(), LLM_API_KEY="")
    assert done.code == 3, done.err
    assert (stage.only_run.status, stage.only_run.stop_reason) == ("parked", "llm_auth")
    assert "LLM_API_KEY" in done.err
    assert model.requests == []
    assert stage.necrocode("run", stage.task()).code == 0


def test_a_wrong_key_costs_one_call_parks_and_goes_on_with_the_right_one(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    done = stage.necrocode("run", stage.task(), LLM_API_KEY="the-wrong-key-of-somebody")
    assert done.code == 3, done.err
    assert [request.served for request in model.requests] == ["refused"]
    assert (stage.only_run.status, stage.only_run.stop_reason) == ("parked", "llm_auth")
    assert stage.lent_slots() == {}
    assert stage.events() == [("1", "RunnerStarted")]
    assert "the-wrong-key-of-somebody" not in done.err
    assert stage.necrocode("resume", "--all").code == 0
    assert model.answered == [0, 1]
    assert BRANCH in stage.branches()


def test_a_429_is_tried_again_after_the_wait_it_asks_for(stage: Stage, play: Play) -> None:
    slow_down = {"status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"message": "slow down"}}}
    model = play({**EDIT, "faults": [slow_down]}, FINISH)
    done = stage.necrocode("run", stage.task())
    assert done.code == 0, done.err
    assert [request.served for request in model.requests] == ["fault", "answer", "answer"]
    (failed,) = [n for n, (entry, _) in enumerate(stage.entries()) if entry.kind == "attempt"]
    entries = [entry for entry, _ in stage.entries()]
    assert entries[failed + 1].when - entries[failed].when >= timedelta(seconds=1)
    assert "slow down" in attempts(stage)[0]["error"]["message"]


def test_what_may_pass_is_tried_again_and_every_attempt_is_journaled(stage: Stage, play: Play) -> None:
    passing = [{"status": 500, "body": {"error": {"message": "oops"}}}, {"cut": True}, {"raw": "<html>busy</html>"}]
    model = play({**EDIT, "faults": passing}, {**FINISH, "faults": [{"body": {"id": "x", "choices": []}}]})
    done = stage.necrocode("run", stage.task())
    assert done.code == 0, done.err
    assert [request.served for request in model.requests] == ["fault"] * 3 + ["answer", "fault", "answer"]
    reasons = [attempt["error"]["stop_reason"] for attempt in attempts(stage)]
    assert reasons == ["llm_unavailable", "llm_unavailable", "llm_bad_answer", "llm_bad_answer"]
    assert done.err.count("will be tried again") == 4


def test_an_endpoint_that_stays_down_parks_the_run_and_it_goes_on_later(stage: Stage, play: Play) -> None:
    model = play({**EDIT, "faults": [{"status": 503, "body": {}}], "always": True})
    done = stage.necrocode("run", stage.task(), NECROCODE_LLM_RETRY_COUNT="2")
    assert done.code == 3, done.err
    assert (stage.only_run.status, stage.only_run.stop_reason) == ("parked", "llm_unavailable")
    assert len(model.requests) == 3
    assert stage.lent_slots() == {}
    play(*SOLVE)
    assert stage.necrocode("resume").code == 0
    assert stage.branch_updates(BRANCH) == 1


def test_an_endpoint_that_cannot_be_reached_parks_the_run(stage: Stage) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        done = stage.necrocode("run", stage.task(), "--endpoint", url, NECROCODE_LLM_RETRY_COUNT="1")
    assert done.code == 3, done.err
    assert stage.only_run.stop_reason == "llm_unavailable"
    assert url in done.err


def test_unknown_tools_and_broken_arguments_are_told_to_the_model_which_goes_on(stage: Stage, play: Play) -> None:
    model = play(
        calls(("launch_rocket", {})),
        {"tool_calls": [{"name": "edit_file", "arguments": '{"path": "greet.py", "old_'}]},
        *SOLVE,
    )
    done = stage.necrocode("run", stage.task())
    assert done.code == 0, done.err
    told = [request.body["messages"][-1]["content"] for request in model.requests[1:3]]
    assert "There is no tool 'launch_rocket'" in told[0]
    assert "not valid JSON" in told[1]


@pytest.mark.parametrize("limit", ["tokens", "deadline"])
def test_a_limit_in_the_task_ends_the_run_and_what_there_is_of_the_work_is_kept(
    stage: Stage, play: Play, limit: str
) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    fields: dict[str, Any] = {"max_tokens": 1500} if limit == "tokens" else {"deadline_at": past}
    model = play(EDIT, FINISH)
    done = stage.necrocode("run", stage.task(**fields))
    assert done.code == 6, done.err
    expected = "budget" if limit == "tokens" else "deadline"
    assert (stage.only_run.state, stage.only_run.stop_reason) == ("failed", expected)
    assert len(model.requests) == (1 if limit == "tokens" else 0)
    assert stage.events()[-1] == ("1", "TaskFailed")
    kept = [artifact["type"] for artifact in stage.only_run.data["artifacts"]]
    assert kept == (["diff", "log"] if limit == "tokens" else ["log"])


def test_an_endpoint_without_tool_calling_is_driven_by_json_documents(stage: Stage, play: Play) -> None:
    document = (
        '{"code_changes": [{"file_path": "greet.py", "operation": "modify", "content": '
        '"def greet(name):\\n    return f\'hello, {name}\'\\n"}], "explanation": "By name."}'
    )
    refusal = {"status": 400, "body": {"error": {"message": "tools are not supported by this model"}}}
    model = play({"text": document, "faults": [refusal]})
    done = stage.necrocode("run", stage.task())
    assert done.code == 0, done.err
    assert "tools" in model.requests[0].body
    assert "tools" not in model.requests[1].body
    assert BRANCH in stage.branches()


def test_the_key_from_a_file_is_used(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    secret = stage.root / "llm.key"
    secret.write_text(KEY + "\n", encoding="ascii")
    secret.chmod(0o600)
    done = stage.necrocode("run", stage.task(), LLM_API_KEY="", LLM_API_KEY_FILE=str(secret))
    assert done.code == 0, done.err
    assert model.answered == [0, 1]
