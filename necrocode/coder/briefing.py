"""The first messages of a conversation, and the one that reports failed tests. Texts stand in ``prompts/``."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from string import Template

from necrocode.coder.settings import Mode
from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.ignored import outline
from necrocode.states.ports import CoderWork, TestResult

#: Bytes of the list of files in the first message.
LISTED_BYTES = 1_000
LISTED_ENTRIES = 60
#: Bytes of the repository's own instructions that are passed on.
INSTRUCTION_BYTES = 6_000
#: Characters of all failed tests' output together, and of one of them.
FEEDBACK_CHARACTERS = 12_000
FEEDBACK_EACH = 6_000

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
        tests=_section("The tests that will be run", _list([f"`{command}`" for command in task.test_commands])),
        related=_section("Files to look at first", _list(task.related_files)),
        conflicts=conflicts,
        instructions="".join(
            _section(f"The repository's own instructions ({path})", text) for path, text in instructions
        ),
        files="\n".join(files) or "(it is empty)",
    )


def feedback_message(feedback: Sequence[TestResult], attempt: int) -> str:
    """Failed tests as a user message: failures first, their output bounded, then the names of those that passed.

    ``attempt`` is the one that failed.
    """
    failed = [result for result in feedback if not result.passed]
    passed = [result for result in feedback if result.passed]
    each = min(FEEDBACK_EACH, FEEDBACK_CHARACTERS // max(1, len(failed)))
    parts = [f"`{result.command}`: {_how(result)}\n```\n{_ends(result.output, each)}\n```" for result in failed]
    parts += [f"`{result.command}`: passed" for result in passed]
    return _fill("feedback.md", attempt=str(attempt), results="\n\n".join(parts) or "(no results)").strip()


def _how(result: TestResult) -> str:
    return f"exit code {result.exit_code}" if result.status == "exited" else result.status


def _ends(text: str, size: int) -> str:
    """Head and tail of ``text``: what failed first and the totals usually stand there."""
    if len(text) <= size:
        return text.strip("\n")
    head, tail = size // 3, size - size // 3
    return f"{text[:head]}\n… {len(text) - size} characters left out …\n{text[-tail:]}".strip("\n")


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
