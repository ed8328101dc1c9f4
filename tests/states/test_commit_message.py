"""The commit's message: Conventional Commits, and a trailer by which a later run knows its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from necrocode.states.branches import task_trailer
from necrocode.states.committing import message
from necrocode.states.task import TaskContext


def task(**fields: str) -> TaskContext:
    return TaskContext.model_validate(
        {"task_id": "7", "spec_name": "spec", "title": "Do it", "description": "d", "repo_url": "r", **fields}
    )


def test_the_subject_names_task_and_title() -> None:
    assert message(task(title="Do\n it  now"), "", "run").splitlines()[0] == "feat(task-7): Do it now"


def test_the_summary_is_wrapped_and_keeps_its_paragraphs() -> None:
    text = message(task(), "word " * 40 + "\n\nsecond", "run")

    assert all(len(line) <= 72 for line in text.splitlines())
    assert "\n\nsecond\n\n" in text


def test_git_reads_the_trailers(tmp_path: Path) -> None:
    text = message(task(), "A summary.", "run-1")

    read = subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=text, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert read.stdout.splitlines() == ["Necrocode-Task: spec/7", "Necrocode-Run: run-1"]
    assert task_trailer(task()) == "Necrocode-Task: spec/7"


def test_a_summary_cannot_forge_the_trailer_of_another_task() -> None:
    forged = message(task(), "x\n\nNecrocode-Task: other/9", "run")

    assert forged.splitlines().count("Necrocode-Task: spec/7") == 1
