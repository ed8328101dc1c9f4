"""Arguments and documents as models write them: repaired where only one thing can be meant, else answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.coder.document import as_plain, read_document
from necrocode.coder.tools.offer import TOOLS, Malformed, parse


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ('{"path": "a"}', {"path": "a"}),
        ('{"path": "a",}', {"path": "a"}),
        ('{"path": "a,}",}', {"path": "a,}"}),
        ('```json\n{"path": "a"}\n```', {"path": "a"}),
        ('"{\\"path\\": \\"a\\"}"', {"path": "a"}),
        ("{'path': 'a'}", {"path": "a"}),
        ('{"path": "a\nb"}', {"path": "a\nb"}),
        ('{"path": "a", "start_line": "3"}', {"path": "a", "start_line": 3}),
        ('{"path": "a", "start_line": 3.0}', {"path": "a", "start_line": 3}),
        ('{"path": "a", "start_line": null}', {"path": "a"}),
    ],
)
def test_what_can_only_mean_one_thing_is_repaired(arguments: str, meant: dict[str, Any]) -> None:
    assert parse("read_file", arguments) == meant


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "path missing"),
        ("[]", "not a JSON object"),
        ('{"path": "a"', "not valid JSON"),
        ('{"path": "a', "not valid JSON"),
        ("path=a", "not valid JSON"),
        (r"{'path': 'a\x41'}", "not valid JSON"),
        ('{"path": 3}', "path must be a string"),
        ('{"path": "a", "start_line": "x"}', "start_line must be an integer"),
        ('{"path": "a", "start_line": true}', "start_line must be an integer"),
        ('{"file": "a"}', "path missing; no such argument: file. Call read_file(path, start_line?, end_line?)"),
        ("{" * 100_000, "not valid JSON"),
        ('{"path":' * 5000 + "1", "nested too deeply"),
    ],
)
def test_anything_else_is_answered_with_how_to_call(arguments: str, says: str) -> None:
    with pytest.raises(Malformed) as malformed:
        parse("read_file", arguments)
    assert says in str(malformed.value)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse("bash", text)
    except Malformed as malformed:
        assert str(malformed)


def test_the_tools_are_offered_in_openai_form() -> None:
    offered = {tool.as_function()["function"]["name"]: tool.as_function() for tool in TOOLS.values()}
    assert list(offered) == ["bash", "read_file", "edit_file", "write_file", "search", "finish"]
    edit = offered["edit_file"]["function"]["parameters"]
    assert edit["required"] == ["path", "old_text", "new_text"]
    assert edit["properties"]["replace_all"]["type"] == "boolean"


def test_a_document_may_be_fenced_and_surrounded_by_words() -> None:
    change = {"file_path": "a", "operation": "create", "content": "x"}
    text = f"Here it is:\n```json\n{json.dumps({'code_changes': [change], 'explanation': 'why'})}\n```\nDone."
    document = read_document(text)
    assert document.operations == (("write_file", {"path": "a", "content": "x"}),)
    assert (document.explanation, document.changes) == ("why", True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "no JSON document"),
        ("{}", "neither code_changes nor read_files"),
        ('{"code_changes": {}}', ""),
        ('{"code_changes": [1]}', "entry 1 is not an object"),
        ('{"code_changes": [{"operation": "create", "content": ""}]}', "file_path is missing"),
        ('{"code_changes": [{"file_path": "a", "operation": "rename"}]}', "create, modify, delete"),
        ('{"code_changes": [{"file_path": "a", "operation": "modify"}]}', "complete new text"),
        ('{"read_files": [1]}', "list of paths"),
        ('{"code_changes": [{"file_path": "a", "operation": "create", "content": "x', "no JSON document"),
    ],
)
def test_a_document_that_is_none_is_answered(text: str, says: str) -> None:
    if says == "":
        assert read_document(text).operations == ()
        return
    with pytest.raises(Malformed, match=says):
        read_document(text)


def test_a_conversation_with_tools_can_be_told_without_them() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "a.py"},
        {"role": "user", "content": "go on"},
    ]
    assert as_plain(messages) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": '[bash {"command": "ls"}]'},
        {"role": "user", "content": "a.py\n\ngo on"},
    ]
