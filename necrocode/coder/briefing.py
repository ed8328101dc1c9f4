"""The first messages of a conversation, and the one that reports failed tests. Texts stand in ``prompts/``."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from string import Template

from necrocode.coder import feedback
from necrocode.coder.settings import Mode
from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.ignored import outline
from necrocode.states.ports import CoderWork, TestResult

#: Bytes of the list of files in the first message.
LISTED_BYTES = 1_000
LISTED_ENTRIES = 60
#: Bytes of the repository's own instructions that are passed on.
INSTRUCTION_BYTES = 6_000

INSTRUCTIONS = "AGENTS.md"

_SYSTEM: Mapping[Mode, str] = {"tools": "system.md", "actions": "system_actions.md", "json": "system_json.md"}


def system_prompt(mode: Mode) -> str:
    """The system prompt for a way of asking."""
    return _text(_SYSTEM[mode]).strip()


def agent_prompt() -> str:
    """What a command-line agent is told before the task."""
    return _text("agent.md").strip()


def task_message(work: CoderWork) -> str:
    """The task as the first user message. Reads the slot: to be recorded by the caller."""
    task = work.task
    tests = task.test_commands if work.test_commands is None else work.test_commands
    with Beneath(work.slot_path) as folder:
        files = outline(folder, max_entries=LISTED_ENTRIES, max_bytes=LISTED_BYTES)
        instructions = _instructions(folder, task.related_files)
    conflicts = ""
    if work.conflicts:
        conflicts = _section(
            "Conflicts: earlier work was moved onto a newer base; these files hold conflict markers to resolve",
            _list(work.conflicts),
        )
    return _fill(
        "task.md",
        title=task.title,
        description=task.description,
        criteria=_section("Acceptance criteria", _list(task.acceptance_criteria)),
        tests=_section("The tests that will be run", _list([f"`{command}`" for command in tests])),
        related=_section("Files to look at first", _list(task.related_files)),
        conflicts=conflicts,
        instructions="".join(
            _section(f"The repository's own instructions ({path})", text) for path, text in instructions
        ),
        files="\n".join(files) or "(it is empty)",
    )


def feedback_message(results: Sequence[TestResult], attempt: int) -> str:
    """Failed tests as a user message, bounded.

    ``attempt`` is the one that failed.
    """
    return _fill("feedback.md", attempt=str(attempt), results=feedback.told(results)).strip()


def nearest_instructions(folder: Beneath, path: str) -> str:
    """Where the instructions are that hold for the file ``path``: in its folder, else in the next one above that has
    any. Empty if none has, or ``path`` is no place in the repository.
    """
    try:
        candidates = (str(parent / INSTRUCTIONS) for parent in PurePosixPath(folder.relative(path)).parents)
        return next((candidate for candidate in candidates if folder.exists(candidate)), "")
    except Refused:
        return ""


def _instructions(folder: Beneath, related: Sequence[str]) -> list[tuple[str, str]]:
    """Paths and texts of the repository's instructions, and of those that hold for the files to look at first."""
    paths = dict.fromkeys([INSTRUCTIONS, *(nearest_instructions(folder, path) for path in related)])
    found, left = [], INSTRUCTION_BYTES
    for path in filter(None, paths):
        try:
            content, _ = folder.read(path)
        except Refused:
            continue  # most repositories have none
        text = content[:left].decode("utf-8", "replace").strip()
        if len(content) > left:
            text += f"\n… {len(content) - left} more bytes in {path}"
        left = max(0, left - len(content))
        found.append((path, text))
    return found


def _section(title: str, body: str) -> str:
    return f"\n## {title}\n\n{body}\n" if body else ""


def _list(entries: Sequence[str]) -> str:
    return "\n".join(f"- {entry}" for entry in entries)


def _fill(name: str, **values: str) -> str:
    # substitute, not safe_substitute: a variable that nobody fills is a mistake
    return Template(_text(name)).substitute(values)


@functools.cache
def _text(name: str) -> str:
    return (Path(__file__).parent / "prompts" / name).read_text(encoding="utf-8")
