"""The coder on the real engine: what it does, what it refuses, when it gives up."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from necrocode.coder.condensing import STEPS, answers_left_out, condense
from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.engine.retry import RetryPolicy
from necrocode.llm import NotSpent
from necrocode.states.ports import TestResult
from necrocode.states.task import TaskContext
from tests.necrocode.coder.conftest import MakeWorld
from tests.necrocode.coder.world import World, answer, call, finish

EDIT = call("edit_file", path="calc.py", old_text="a * b", new_text="a + b")
QUICK = RetryPolicy(attempts=3, first_wait=timedelta(milliseconds=1), jitter=0)


def reason(world: World) -> tuple[str, str | None]:
    """How the run ended: its last state and its stop reason."""
    run = world.drive()
    return run.state, run.data.get("stop_reason")


# --- the way it is meant to go


def test_a_task_is_done_with_tools(make_world: MakeWorld) -> None:
    world = make_world(
        [
            answer(call("search", pattern="def add"), call("read_file", path="calc.py")),
            answer(EDIT),
            answer(call("bash", command="cat calc.py && touch new.txt")),
            finish("add adds now"),
        ]
    )
    run = world.drive()
    assert (run.state, run.data["summary"]) == ("completed", "add adds now")
    assert world.content("calc.py") == "def add(a, b):\n    return a + b\n"
    assert [name for name, _ in world.outcomes] == [
        "coder.brief",
        "llm.chat",
        "tool.search",
        "tool.read_file",
        "llm.chat",
        "tool.edit_file",
        "llm.chat",
        "tool.bash",
        "llm.chat",
        "tests",
    ]
    assert world.tool_results() == [
        "calc.py:1: def add(a, b):",
        "calc.py, lines 1-2 of 2\n1\tdef add(a, b):\n2\t    return a * b",
        "calc.py edited",
        "exit code 0\ndef add(a, b):\n    return a + b",
    ]


def test_an_edit_takes_a_snapshot_of_its_own_path_only_and_reading_takes_none(make_world: MakeWorld) -> None:
    world = make_world([answer(call("read_file", path="calc.py")), answer(EDIT), finish()])
    world.drive()
    results = dict(world.outcomes)
    assert "snapshot" not in results["tool.read_file"]
    assert world.workspace.text(results["tool.edit_file"]["snapshot"], "calc.py").endswith("a + b\n")
    assert world.workspace.partial == [("calc.py",)]


def test_the_first_request_is_small(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()])
    for number in range(300):
        world.files(**{f"package__module_{number}_py": "x = 1\n"})
    world.drive()
    first = world.model.requests[0]
    size = len(json.dumps([list(first.messages), list(first.tools)]).encode())
    assert size <= 6_000 + len(world.task.title) + len(world.task.description)


def test_the_first_request_tells_the_task_and_where_it_is(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()])
    world.task = TaskContext(
        task_id="1",
        spec_name="s",
        title="Mend $add",
        description="add(1, 2) gives 2, for ${reasons}",
        acceptance_criteria=["add(1, 2) is 3"],
        test_commands=["python -m unittest"],
        related_files=["calc.py"],
        repo_url="r",
    )
    (world.slot / "AGENTS.md").write_text("Use tabs.\n")
    world.drive()
    told = world.model.requests[0].messages[1]["content"]
    for words in (
        "Mend $add",
        "${reasons}",
        "add(1, 2) is 3",
        "python -m unittest",
        "- calc.py",
        "Use tabs.",
        "README",
    ):
        assert words in told


def test_no_path_of_this_machine_reaches_the_model_or_an_effects_key(make_world: MakeWorld) -> None:
    world = make_world([answer(call("read_file", path="nope"), EDIT, call("search", pattern="x+")), finish()])
    world.drive()
    sent = json.dumps([list(request.messages) for request in world.model.requests])
    keys = [entry.key for entry in world.journal.entries(world.run_id)]
    assert str(world.home) not in sent
    assert not any("/" + world.home.name in key for key in keys)


def test_failed_tests_go_on_with_the_same_conversation(make_world: MakeWorld) -> None:
    def tests(slot: Path) -> list[TestResult]:
        good = "a + b" in (slot / "calc.py").read_text()
        (slot / "dropping.txt").write_text("left by the tests")
        return [
            TestResult("lint", True, "exited", 0, "fine", 0.1),
            TestResult("unit", good, "exited", 0 if good else 1, "x" * 50_000 + "AssertionError: 2 != 3", 0.1),
        ]

    wrong = call("edit_file", path="calc.py", old_text="a * b", new_text="a - b")
    right = call("edit_file", path="calc.py", old_text="a - b", new_text="a + b")
    world = make_world([answer(wrong), finish(), answer(right), finish("at last")])
    world.tests = tests
    assert world.drive().state == "completed"
    second, third = world.model.requests[1].messages, world.model.requests[2].messages
    assert list(third[: len(second)]) == list(second), "the prefix is stable"
    feedback = third[-1]
    assert feedback["role"] == "user"
    assert "AssertionError: 2 != 3" in feedback["content"]
    assert feedback["content"].index("`unit`") < feedback["content"].index("`lint`")
    assert len(feedback["content"]) < 14_000
    assert world.content("calc.py").endswith("a + b\n")
    with pytest.raises(KeyError):
        world.content("dropping.txt")


def test_the_journal_grows_by_what_is_new_in_each_turn(make_world: MakeWorld) -> None:
    def size(turns: int) -> int:
        steps = [
            answer(call("edit_file", path="calc.py", old_text="a", new_text="a", replace_all=True), text=f"turn {n}")
            for n in range(turns)
        ]
        for number, step in enumerate(steps):
            step["tool_calls"] = [call("write_file", path="calc.py", content=f"{number}\n" + "word " * 100)]
        world = make_world([*steps, finish()], max_turns=1000)
        assert world.drive().state == "completed"
        return sum(len(entry.payload) for entry in world.journal.entries(world.run_id))

    assert size(80) < 2.2 * size(40)


def test_progress_is_told_as_steps_begin(make_world: MakeWorld) -> None:
    price = {"price_in": Decimal(10), "price_out": Decimal(20)}
    world = make_world([answer(EDIT, call("bash", command="echo\n  hi")), finish()], **price)
    world.drive()
    told = [(event.turn, event.doing, event.detail, event.tokens_in) for event in world.events]
    assert told == [
        (1, "model", "", 0),
        (1, "edit_file", "calc.py", 100),
        (1, "bash", "echo hi", 100),
        (2, "model", "", 100),
    ]
    assert world.events[-1].cost == Decimal("0.0012")


def test_the_tasks_environment_reaches_its_commands(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT, call("bash", command="echo $GREETING", timeout_seconds=7)), finish()])
    world.task = world.task.model_copy(update={"env": {"GREETING": "hello"}, "pass_env": ["LANG"]})
    world.drive()
    (spec,) = world.commands.specs
    assert (spec.env, spec.pass_env, spec.timeout) == ({"GREETING": "hello"}, ["LANG"], timedelta(seconds=7))
    assert world.tool_results()[1] == "exit code 0\nhello"
    assert world.commands.forgotten == [spec.command_id]


def test_a_command_that_takes_too_long_is_said_to_have_been_killed(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT, call("bash", command="echo a; exec sleep 60", timeout_seconds=1)), finish()])
    world.drive()
    assert world.tool_results()[1].startswith("It was killed after 1 s")


# --- models that are not at their best


def test_finishing_with_nothing_changed_is_asked_about_once(make_world: MakeWorld) -> None:
    world = make_world([finish(), finish("nothing to do")])
    assert world.drive().data["summary"] == "nothing to do"
    assert "Nothing has changed" in world.tool_results()[0]


def test_calls_after_finish_are_not_carried_out(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT, call("finish", summary="s"), call("bash", command="touch late"))])
    assert world.drive().state == "completed"
    assert world.commands.specs == []


def test_a_plain_answer_is_no_end_and_three_in_a_row_are_stuck(make_world: MakeWorld) -> None:
    world = make_world([answer(text="All done!")], forever=True, tool_mode="tools")
    assert reason(world) == ("failed", "stuck")
    assert len(world.model.requests) == 3
    assert "no tool call" in world.model.requests[1].messages[-1]["content"]


def test_plain_answers_with_calls_between_them_are_not_stuck(make_world: MakeWorld) -> None:
    plain = answer(text="hm")
    world = make_world([plain, answer(EDIT), plain, plain, finish()])
    assert world.drive().state == "completed"


def test_ten_answers_of_refused_calls_are_stuck_and_half_as_many_are_nudged(make_world: MakeWorld) -> None:
    wrong = [answer(call("edit_file", path="calc.py", old_text=f"nothing {n}", new_text="x")) for n in range(10)]
    world = make_world(wrong)
    assert reason(world) == ("failed", "stuck")
    assert (
        next(number for number, told in enumerate(world.tool_results(), 1) if "answers in a row were refused" in told)
        == 5
    )


def test_refused_calls_with_a_good_one_between_them_and_failing_commands_are_not_stuck(make_world: MakeWorld) -> None:
    wrong = [answer(call("edit_file", path="calc.py", old_text=f"nothing {n}", new_text="x")) for n in range(9)]
    failing = [answer(call("bash", command=f"exit {n}")) for n in range(1, 13)]
    world = make_world([*wrong, answer(EDIT), *failing, *wrong, finish()])
    assert world.drive().state == "completed"


def test_two_calls_in_turn_without_end_are_stuck(make_world: MakeWorld) -> None:
    one, other = call("read_file", path="calc.py"), call("search", pattern="def")
    world = make_world([answer(one), answer(other)] * 20)
    assert reason(world) == ("failed", "stuck")
    assert len(world.model.requests) <= 12


def test_an_unknown_tool_is_answered_with_the_tools_there_are(make_world: MakeWorld) -> None:
    world = make_world([answer(call("str_replace", path="x")), answer(EDIT), finish()])
    assert world.drive().state == "completed"
    assert "There is no tool 'str_replace'. The tools are: bash(command, timeout_seconds?)" in world.tool_results()[0]


def test_broken_arguments_are_answered_and_three_in_a_row_are_stuck(make_world: MakeWorld) -> None:
    broken = {"name": "bash", "arguments": '{"command": "ls'}
    world = make_world([answer(broken), answer(EDIT), answer(broken), answer(broken), answer(broken)])
    assert reason(world) == ("failed", "stuck")
    assert len(world.model.requests) == 5
    for message in world.model.requests[-1].messages:
        for said in message.get("tool_calls", ()):
            assert isinstance(json.loads(said["function"]["arguments"]), dict), "the conversation stays valid"


def test_arguments_that_can_only_mean_one_thing_are_repaired(make_world: MakeWorld) -> None:
    fenced = {"name": "edit_file", "arguments": '```json\n{"path": "calc.py", "old_text": "*", "new_text": "+",}\n```'}
    world = make_world([answer(fenced), finish()])
    assert world.drive().state == "completed"
    assert world.content("calc.py").endswith("a + b\n")


def test_an_answer_that_was_cut_is_never_carried_out_by_half(make_world: MakeWorld) -> None:
    whole = {"name": "bash", "arguments": '{"command": "touch one"}'}
    half = {"name": "write_file", "arguments": "{'path': 'calc.py', 'content': 'def'}"}
    world = make_world([answer(whole, half, finish_reason="length"), finish()])
    assert world.drive().state == "completed"
    assert "cut at its longest length" in world.tool_results()[1]
    assert world.content("calc.py").startswith("def add")
    assert world.content("one") == ""


def test_a_plain_answer_that_was_cut_is_told_so(make_world: MakeWorld) -> None:
    world = make_world([answer(text="Let me think", finish_reason="length"), answer(EDIT), finish()])
    world.drive()
    assert "cut" in world.model.requests[1].messages[-1]["content"]


def test_the_same_call_with_the_same_result_is_remarked_on_and_then_stuck(make_world: MakeWorld) -> None:
    world = make_world([answer(call("read_file", path="calc.py"))], forever=True)
    assert reason(world) == ("failed", "stuck")
    assert len(world.model.requests) == 6
    told = world.tool_results()
    assert "4 times" in told[3]
    assert "times" not in told[2]


def test_running_the_same_tests_between_changes_is_no_loop(make_world: MakeWorld) -> None:
    steps = []
    for number in range(8):
        steps += [answer(call("write_file", path="n", content=str(number))), answer(call("bash", command="echo no"))]
    world = make_world([*steps, finish()])
    assert world.drive().state == "completed"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", ".git/config", "a/../../x", "sub/.GIT/hooks/x"])
def test_paths_outside_are_refused_and_the_model_goes_on(make_world: MakeWorld, path: str) -> None:
    calls = [
        call("read_file", path=path),
        call("write_file", path=path, content="x"),
        call("search", pattern="x", path=path),
    ]
    world = make_world([answer(*calls), answer(EDIT), finish()])
    assert world.drive().state == "completed"
    assert all(told.startswith("Error: ") for told in world.tool_results()[:3])


# --- limits


def test_the_last_turn_is_the_last(make_world: MakeWorld) -> None:
    world = make_world([answer(call("bash", command="date +%N"))], forever=True, max_turns=3)
    assert reason(world) == ("failed", "budget")
    assert len(world.model.requests) == 3


def test_no_answer_is_bought_that_the_token_limit_has_no_room_for(make_world: MakeWorld) -> None:
    spend: dict[str, Any] = {"usage": {"prompt_tokens": 3000, "completion_tokens": 100}}
    world = make_world([answer(call("bash", command="date +%N"), **spend)], forever=True, max_total_tokens=10_000)
    assert reason(world) == ("failed", "budget")
    assert len(world.model.requests) == 3
    assert world.model.requests[0].max_tokens == 4000
    assert world.model.requests[-1].max_tokens < 4000, "the last answer may have what is left"


def test_the_tasks_own_token_limit_counts_too(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT)], max_total_tokens=10_000_000)
    world.task = world.task.model_copy(update={"max_tokens": 500})
    assert reason(world) == ("failed", "budget")
    assert world.model.requests == []


def test_a_cost_limit_ends_the_run(make_world: MakeWorld) -> None:
    price = {"price_in": Decimal(1000), "price_out": Decimal(1000), "max_cost": Decimal(5)}
    spend: dict[str, Any] = {"usage": {"prompt_tokens": 2000, "completion_tokens": 100}}
    world = make_world([answer(call("bash", command="date +%N"), **spend)], forever=True, **price)
    assert reason(world) == ("failed", "budget")
    assert len(world.model.requests) == 2


def test_a_price_that_is_unknown_limits_nothing(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()], max_cost=Decimal("0.01"))
    assert world.drive().state == "completed"


def test_attempts_that_may_have_been_billed_count_and_those_refused_do_not(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()], llm_retry=QUICK)
    world.model.errors = {
        0: [Transient("cut", stop_reason="llm_unavailable")],
        1: [NotSpent("429", stop_reason="llm_unavailable"), NotSpent("429", stop_reason="llm_unavailable")],
    }
    world.drive()
    chats = [result for name, result in world.outcomes if name == "llm.chat"]
    assert [chat.get("doubtful_attempts", 0) for chat in chats] == [1, 0]


# --- endpoints that are not at their best


def test_a_retried_request_keeps_its_idempotency_key(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()], llm_retry=QUICK)
    world.model.errors = {0: [Transient("cut", stop_reason="llm_unavailable")]}
    assert world.drive().state == "completed"
    assert world.model.keys[0] == world.model.keys[1] != world.model.keys[2]


def test_a_refused_key_parks_the_run_and_it_goes_on_later(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT), finish()], llm_retry=QUICK)
    world.model.errors = {1: [EnvironmentFault("no", stop_reason="llm_auth")]}
    run = world.drive()
    assert (run.status, run.stop_reason) == ("parked", "llm_auth")
    assert world.drive().state == "completed"
    assert len(world.model.requests) == 3


def test_a_conversation_that_grew_too_long_is_condensed_and_goes_on(make_world: MakeWorld) -> None:
    big = call("bash", command="seq 1 3000")
    edits = [call("write_file", path="n", content=str(n)) for n in range(30)]
    steps = [step for edit in edits for step in (answer(edit), answer(big))]
    world = make_world([*steps, answer(EDIT), finish()])
    world.model.errors = {50: [TaskError("too long", stop_reason="context_overflow")]}
    assert world.drive().state == "completed"
    before, after = (len(json.dumps(list(request.messages))) for request in world.model.requests[50:52])
    assert after < before * 0.7
    assert list(world.model.requests[51].messages[:2]) == list(world.model.requests[0].messages)
    assert len(world.model.requests[51].messages) == len(world.model.requests[50].messages)


def test_a_conversation_that_stays_too_long_ends_the_run(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT)])
    world.model.errors = {0: [TaskError("too long", stop_reason="context_overflow")] * 9}
    assert reason(world) == ("failed", "context_overflow")
    assert len(world.model.requests) == 1, "there is nothing to condense"


def test_the_same_conversation_may_be_condensed_as_often_as_it_grows(make_world: MakeWorld) -> None:
    steps = [answer(call("bash", command=f"seq {n} {n + 2000}")) for n in range(60)]
    world = make_world([*steps, answer(EDIT), finish()])
    too_long = [TaskError("too long", stop_reason="context_overflow")]
    world.model.errors = {position: list(too_long) for position in range(8, 60, 6)}
    assert world.drive().state == "completed"


def test_before_a_known_window_overflows_the_conversation_is_condensed(make_world: MakeWorld) -> None:
    steps = [answer(call("bash", command=f"seq {n} {n + 400}")) for n in range(60)]
    world = make_world([*steps, answer(EDIT), finish()], context_window=12_000, answer_tokens=2_000)
    assert world.drive().state == "completed"
    for request in world.model.requests:
        sent = len(json.dumps([list(request.messages), list(request.tools)], ensure_ascii=False))
        assert sent / 4 + request.max_tokens <= 12_500
    assert world.model.requests[-1].messages[1] == world.model.requests[0].messages[1], "the task stays"
    shorter = [a for a, b in pairwise(world.model.requests) if len(str(b.messages)) < len(str(a.messages))]
    assert 1 <= len(shorter) <= 8, "condensed seldom, so that the prefix stays the same for long"


def test_a_window_that_the_task_alone_fills_ends_the_run_before_anything_is_spent(make_world: MakeWorld) -> None:
    world = make_world([answer(EDIT)], context_window=1_000)
    assert reason(world) == ("failed", "context_overflow")
    assert world.model.requests == []


def test_answers_that_are_left_out_are_told_in_a_line_each_and_results_stay_with_their_calls() -> None:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {"role": "user", "content": "the task"}]
    for number in range(30):
        call_of = {
            "id": f"c{number}",
            "function": {"name": "bash", "arguments": json.dumps({"command": f"ls {number}"})},
        }
        messages.append({"role": "assistant", "content": None, "tool_calls": [call_of]})
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": f"out {number}"})
    for step in range(STEPS):
        condense(messages, step)
    assert [message["role"] for message in messages] == ["system", "user", "user", "assistant", "tool"]
    assert answers_left_out(messages) == 29
    told = messages[2]["content"]
    assert "29 of your earlier answers are left out" in told
    assert '- bash {"command": "ls 27"}' in told
    assert "out 27" in told
    assert messages[3]["tool_calls"][0]["id"] == messages[4]["tool_call_id"]


# --- one JSON document instead of tools


def document(**content: Any) -> dict[str, Any]:
    return answer(text=json.dumps(content))


MEND = {"file_path": "calc.py", "operation": "modify", "content": "def add(a, b):\n    return a + b\n"}


def test_json_mode_reads_changes_and_ends(make_world: MakeWorld) -> None:
    create = {"file_path": "docs/new.md", "operation": "create", "content": "new\n"}
    delete = {"file_path": "README", "operation": "delete"}
    world = make_world(
        [document(read_files=["calc.py"]), document(code_changes=[MEND, create, delete], explanation="mended")],
        tool_mode="json",
    )
    run = world.drive()
    assert (run.state, run.data["summary"]) == ("completed", "mended")
    assert world.content("calc.py").endswith("a + b\n")
    assert world.content("docs/new.md") == "new\n"
    with pytest.raises(KeyError):
        world.content("README")
    first, second = world.model.requests
    assert first.tools == []
    assert first.response_format is not None
    assert "1\tdef add(a, b):" in second.messages[-1]["content"]
    assert [name for name, _ in world.outcomes if name.startswith("tool.")] == [
        "tool.read_file",
        "tool.write_file",
        "tool.write_file",
        "tool.delete_file",
    ]


def test_json_mode_tells_of_operations_that_failed(make_world: MakeWorld) -> None:
    outside = {"file_path": "../x", "operation": "create", "content": ""}
    world = make_world([document(code_changes=[outside, MEND]), document(code_changes=[MEND])], tool_mode="json")
    assert world.drive().state == "completed"
    assert "Error: ../x is outside the repository" in world.model.requests[1].messages[-1]["content"]


def test_json_mode_without_any_document_is_stuck(make_world: MakeWorld) -> None:
    world = make_world([answer(text="I would change calc.py.")], forever=True, tool_mode="json")
    assert reason(world) == ("failed", "stuck")
    assert len(world.model.requests) == 3


@pytest.mark.parametrize(
    "words",
    [
        "http://h/v1 answered 400: this model does not support tools Check llm_endpoint and llm_model.",
        'answered 400: "auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "answered 404: No endpoints found that support tool use.",
        "answered 400: Unrecognized request argument supplied: tools",
    ],
)
def test_an_endpoint_that_refuses_tools_is_asked_for_documents(make_world: MakeWorld, words: str) -> None:
    world = make_world([document(code_changes=[MEND], explanation="x")])
    world.model.errors = {0: [EnvironmentFault(words, stop_reason="llm_request")]}
    assert world.drive().state == "completed"
    assert [bool(request.tools) for request in world.model.requests] == [True, False]
    assert world.outcomes[1] == ("llm.chat", {"refused": "tools"})


def test_an_endpoint_that_refuses_the_answers_format_is_asked_without(make_world: MakeWorld) -> None:
    world = make_world([document(code_changes=[MEND])], tool_mode="json")
    world.model.errors = {0: [EnvironmentFault("response_format is not known", stop_reason="llm_request")]}
    assert world.drive().state == "completed"
    assert world.model.requests[1].response_format is None


def test_an_endpoint_that_passes_no_tools_on_is_asked_for_documents_at_last(make_world: MakeWorld) -> None:
    plain = answer(text="I would mend it.")
    world = make_world([plain, plain, document(code_changes=[MEND])])
    assert world.drive().state == "completed"
    assert world.model.requests[2].tools == []


def test_when_tools_are_demanded_a_refusal_parks_the_run(make_world: MakeWorld) -> None:
    world = make_world([finish()], tool_mode="tools")
    world.model.errors = {0: [EnvironmentFault("does not support tools", stop_reason="llm_request")]}
    assert world.drive().status == "parked"
