"""Endpoints that know no tools, models that think aloud, prices and windows, and limits on what tools may do."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from necrocode.coder.actions import RESPONSE_FORMAT, read_action
from necrocode.coder.calls import without_thoughts
from necrocode.coder.terms import Terms
from necrocode.coder.tools.offer import TOOLS, Malformed
from necrocode.engine.errors import EnvironmentFault
from necrocode.llm.price_list import look_up
from necrocode.states.ports import ChatAnswer, ToolCall
from tests.necrocode.coder.conftest import MakeWorld
from tests.necrocode.coder.test_loop import EDIT, MEND, document, reason
from tests.necrocode.coder.world import World, answer, call, finish

NO_TOOLS = EnvironmentFault("answered 400: this model does not support tools", stop_reason="llm_request")
NO_FORMAT = EnvironmentFault("answered 400: response_format is not known", stop_reason="llm_request")


def action(tool: str, **arguments: Any) -> dict[str, Any]:
    return answer(text=json.dumps({"thought": "so", "action": {"tool": tool, "arguments": arguments}}))


MEND_ACTION = action("edit_file", path="calc.py", old_text="a * b", new_text="a + b")
END = action("finish", summary="mended")


# --- one action an answer


def test_a_task_is_done_by_one_action_an_answer(make_world: MakeWorld) -> None:
    world = make_world([action("read_file", path="calc.py"), action("bash", command="ls"), MEND_ACTION, END])
    world.model.errors = {0: [NO_TOOLS]}
    run = world.drive()
    assert (run.state, run.data["summary"]) == ("completed", "mended")
    assert world.content("calc.py").endswith("a + b\n")
    refused, *asked = world.model.requests
    assert refused.tools
    for request in asked:
        assert (request.tools, request.response_format) == ([], RESPONSE_FORMAT)
        roles = [message["role"] for message in request.messages]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)][: len(roles)], "each role in its turn"
    assert "1\tdef add(a, b):" in asked[1].messages[-1]["content"]
    assert "exit code 0" in asked[2].messages[-1]["content"]


def test_finishing_without_a_change_is_asked_back_once(make_world: MakeWorld) -> None:
    world = make_world([END, MEND_ACTION, END], tool_mode="actions")
    assert world.drive().state == "completed"
    assert "Nothing has changed" in world.model.requests[1].messages[-1]["content"]


def test_an_endpoint_that_knows_neither_tools_nor_formats_is_asked_for_documents(make_world: MakeWorld) -> None:
    world = make_world([document(code_changes=[MEND], explanation="mended")])
    world.model.errors = {0: [NO_TOOLS, NO_FORMAT]}
    assert world.drive().state == "completed"
    assert [bool(request.tools) for request in world.model.requests] == [True, False, False]
    assert [request.response_format for request in world.model.requests] == [None, RESPONSE_FORMAT, None]
    assert "code_changes" in world.model.requests[-1].messages[0]["content"]


def test_a_model_that_never_manages_an_action_is_asked_for_documents(make_world: MakeWorld) -> None:
    words = answer(text="I would mend it.")
    world = make_world([words, words, words, words, words, document(code_changes=[MEND])])
    assert world.drive().state == "completed"
    assert "code_changes" not in world.model.requests[4].messages[0]["content"]
    assert "code_changes" in world.model.requests[5].messages[0]["content"]


def test_a_model_that_answers_with_a_document_of_its_own_accord_is_understood(make_world: MakeWorld) -> None:
    world = make_world([document(code_changes=[MEND], explanation="mended")])
    world.model.errors = {0: [NO_TOOLS]}
    assert world.drive().state == "completed"


def test_where_actions_are_demanded_words_alone_are_stuck(make_world: MakeWorld) -> None:
    world = make_world([answer(text="I would mend it.")], forever=True, tool_mode="actions")
    assert reason(world) == ("failed", "stuck")
    assert len(world.model.requests) == 3


def test_an_action_that_was_cut_is_not_done(make_world: MakeWorld) -> None:
    cut = {**MEND_ACTION, "finish_reason": "length", "text": MEND_ACTION["text"][:60]}
    world = make_world([cut, MEND_ACTION, END], tool_mode="actions")
    assert world.drive().state == "completed"
    assert "cut at its longest length" in world.model.requests[1].messages[-1]["content"]


def test_the_mode_is_remembered_over_a_death(make_world: MakeWorld) -> None:
    world = make_world([action("read_file", path="calc.py"), MEND_ACTION, END])
    world.model.errors = {0: [NO_TOOLS]}
    world.seam.die_at = 14
    assert world.drive_over_deaths().state == "completed"
    assert sum(bool(request.tools) for request in world.model.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"thought": "x", "action": {"tool": "bash", "arguments": {"command": "ls"}}}',
        '{"tool": "bash", "arguments": {"command": "ls"}}',
        '{"name": "bash", "arguments": "{\\"command\\": \\"ls\\"}"}',
        'Well:\n```json\n{"action": {"tool": "bash", "arguments": {"command": "ls"}}}\n```\nThere.',
    ],
)
def test_an_action_is_read_in_whatever_dress(text: str) -> None:
    assert read_action(text) == ("bash", {"command": "ls"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no JSON", "no JSON document"),
        ("[1]", "names no action"),
        ('{"action": "bash"}', "names no action"),
        ('{"action": {}}', "names no tool"),
        ('{"action": {"tool": "rocket", "arguments": {}}}', "There is no tool 'rocket'"),
        ('{"action": {"tool": "bash", "arguments": {"comand": "ls"}}}', "command missing"),
        ('{"action": {"tool": "bash", "arguments": [1]}}', "not a JSON object"),
    ],
)
def test_what_is_no_action_is_told_how_to_be_one(text: str, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        read_action(text)


def test_the_schema_is_a_union_of_all_tools() -> None:
    union = RESPONSE_FORMAT["json_schema"]["schema"]["properties"]["action"]["anyOf"]
    assert [entry["properties"]["tool"]["enum"] for entry in union] == [[name] for name in TOOLS]


# --- thoughts


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>\nhm\n</think>\n\nThe answer.", "The answer."),
        ("  <think></think>x", "x"),
        ("<think>cut in the middle of", ""),
        ("Say <think>x</think>", "Say <think>x</think>"),
        ("plain", "plain"),
    ],
)
def test_thoughts_before_an_answer_are_no_part_of_it(text: str, left: str) -> None:
    assert without_thoughts(text) == left


class Thinking:
    """A model that thinks before each call; ``refuses``: its endpoint does not want the thoughts back."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.requests: list[list[dict[str, Any]]] = []

    def complete(self, request: Any, **_: Any) -> ChatAnswer:
        messages = [dict(message) for message in request.messages]
        self.requests.append(messages)
        if self.refuses and any("reasoning_content" in message for message in messages):
            raise EnvironmentFault("answered 400: reasoning_content is not allowed", stop_reason="llm_request")
        made = (EDIT, call("read_file", path="calc.py"), call("finish", summary="done"))
        wanted = made[sum(message["role"] == "assistant" for message in messages)]
        calls = (ToolCall("c", wanted["name"], json.dumps(wanted["arguments"])),)
        return ChatAnswer("", calls, "tool_calls", 100, 10, "m", reasoning={"reasoning_content": "I think."})


def test_thoughts_go_back_with_their_calls(make_world: MakeWorld) -> None:
    world = make_world([])
    world.llm = model = Thinking()
    assert world.drive().state == "completed"
    assert [sum("reasoning_content" in message for message in sent) for sent in model.requests] == [0, 1, 2]


def test_an_endpoint_that_does_not_want_thoughts_back_gets_none(make_world: MakeWorld) -> None:
    world = make_world([])
    world.llm = model = Thinking(refuses=True)
    assert world.drive().state == "completed"
    assert [sum("reasoning_content" in message for message in sent) for sent in model.requests] == [0, 1, 0, 0]
    assert ("llm.chat", {"refused": "reasoning"}) in world.outcomes


# --- prices and windows


def test_known_models_at_known_providers_have_a_price_and_a_window() -> None:
    found = look_up("gpt-4", None)
    assert found is not None
    assert (found.context_window, found.price_in, found.price_out) == (8192, Decimal(30), Decimal(60))


def test_of_several_prices_the_dearest_counts() -> None:
    for model, endpoint in (
        ("deepseek-chat", "https://api.deepseek.com/v1"),
        ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ):
        found = look_up(model, endpoint)
        assert found is not None
        assert found.price_in is not None
        assert found.price_in > Decimal("0.2")


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [("gpt-4", "http://127.0.0.1:8000/v1"), ("no-such-model", None), ("gpt-4", "https://llm.example/v1")],
)
def test_what_is_not_listed_has_no_price(model: str, endpoint: str | None) -> None:
    assert look_up(model, endpoint) is None


def terms(world: World) -> Terms:
    return Terms.from_json(dict(world.outcomes)["coder.brief"]["terms"])


def test_the_terms_are_recorded_with_the_run_and_hold_for_all_of_it(make_world: MakeWorld) -> None:
    spend: dict[str, Any] = {"usage": {"prompt_tokens": 2000, "completion_tokens": 100}}
    world = make_world([answer(EDIT, **spend), finish()], max_cost=Decimal(1))
    object.__setattr__(world.settings, "model", "gpt-4")
    assert world.drive().state == "completed"
    assert terms(world) == Terms(8192, Decimal(30), Decimal(60))
    assert world.model.requests[1].max_tokens <= 4000
    assert world.events[-1].cost is not None


def test_a_limit_in_money_without_a_price_is_said_to_be_none(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()], max_cost=Decimal("0.01"))
    assert world.drive().state == "completed"
    (warning,) = [entry for entry in world.journal.entries(world.run_id) if entry.kind == "warning"]
    assert warning.name == "no_price"


def test_an_answer_may_cost_no_more_than_is_left(make_world: MakeWorld) -> None:
    price = {"price_in": Decimal(1), "price_out": Decimal(10_000), "max_cost": Decimal(3)}
    world = make_world([answer(EDIT), finish()], **price)
    world.drive()
    assert world.model.requests[0].max_tokens < 300


# --- what tools may do


def test_a_number_of_calls_is_a_limit(make_world: MakeWorld) -> None:
    many = answer(*(call("bash", command=f"echo {n}") for n in range(10)))
    world = make_world([many], forever=True, max_tool_calls=25)
    assert reason(world) == ("failed", "budget")
    assert sum(name == "tool.bash" for name, _ in world.outcomes) == 25


def test_the_bytes_that_tools_show_are_a_limit(make_world: MakeWorld) -> None:
    world = make_world([answer(call("bash", command="date +%N; seq 1 2000"))], forever=True, max_shown_bytes=50_000)
    assert reason(world) == ("failed", "budget")
    assert len(world.model.requests) <= 7


# --- instructions


def test_the_nearest_instructions_are_told(make_world: MakeWorld) -> None:
    look = answer(call("read_file", path="deep/er/mod.py"), call("read_file", path="calc.py"))
    world = make_world([look, answer(EDIT), finish()])
    world.files(deep__er__mod_py="x = 1\n", deep__other_py="y = 1\n")
    (world.slot / "AGENTS.md").write_text("Use tabs.\n")
    (world.slot / "deep/AGENTS.md").write_text("Use spaces.\n")
    world.task = world.task.model_copy(update={"related_files": ["deep/other.py", "../outside.py", "none/x.py"]})
    assert world.drive().state == "completed"
    told = world.model.requests[0].messages[1]["content"]
    assert told.index("Use tabs.") < told.index("(deep/AGENTS.md)") < told.index("Use spaces.")
    deep, root = (m["content"] for m in world.model.requests[1].messages if m["role"] == "tool")
    assert "deep/AGENTS.md; the nearest ones win" in deep
    assert "AGENTS.md" not in root
