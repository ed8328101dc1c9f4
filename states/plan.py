"""The plan of a run's tests: made once, from what the task says and what the repository was before the coder worked.

So no edit of the coder's can weaken what its work is tested by, and a replay tests the same.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

from necrocode.engine.context import Context
from necrocode.engine.effects import Json
from necrocode.engine.errors import TaskError
from necrocode.states.conditions import FUNCTIONS, Facts, check, evaluate
from necrocode.states.playbook import MAX_RETRIES, Playbook, is_outside
from necrocode.states.ports import Ports, Workspace
from necrocode.states.task import TaskContext

MAX_PLAYBOOK_BYTES = 256 * 1024
MAX_FILE_BYTES = 256 * 1024
"""Of a file that conditions look into."""

OF_THE_REPOSITORY = tuple(name for name in FUNCTIONS if name != "changed")
"""The functions of conditions that are answered once, when the plan is made."""


Source: TypeAlias = Literal["task", "playbook", "detected"]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One command that the work is tested by."""

    run: str
    #: Of a playbook's step; ``None`` for one of the task's own commands.
    name: str | None = None
    when: str | None = None
    timeout_seconds: float | None = None
    retries: int = 0
    fail_fast: bool = True
    allow_failure: bool = False
    junit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run's work is tested by."""

    steps: tuple[PlannedStep, ...]
    #: Where they are from: the task's commands, a playbook (and the task's commands), or the looks of the repository.
    source: Source = "task"
    #: Of the playbook.
    name: str | None = None
    #: What tests that failed before the change are good for.
    baseline: Literal["off", "report", "forgive"] = "off"
    #: Whether commands are asked after single tests.
    reports: bool = False
    #: What the conditions ask after the repository: calls and answers.
    looked: tuple[tuple[tuple[str, ...], bool | str], ...] = ()

    def facts(self, changed: Callable[[str], bool], **more: Any) -> Facts:
        """What conditions may ask after; ``more`` as :class:`Facts` has it."""
        answers: Mapping[tuple[str, ...], bool | str] = dict(self.looked)

        def look(name: str) -> Callable[..., bool | str]:
            return lambda *texts: answers[(name, *texts)]

        functions: dict[str, Callable[..., bool | str]] = {name: look(name) for name in OF_THE_REPOSITORY}
        return Facts(functions={**functions, "changed": changed}, **more)

    def as_json(self) -> Json:
        """As the journal keeps it."""
        return {
            "source": self.source,
            "name": self.name,
            "baseline": self.baseline,
            "reports": self.reports,
            "steps": [_lean(step) for step in self.steps],
            "looked": [[list(call), answer] for call, answer in self.looked],
        }


def plan_of(data: Mapping[str, Any], task: TaskContext) -> Plan:
    """The plan that ``preparing`` recorded; of a run that an earlier release prepared, the task's commands."""
    recorded = data.get("plan")
    if recorded is None:
        return Plan(tuple(PlannedStep(command, fail_fast=task.fail_fast) for command in task.test_commands))
    steps = tuple(PlannedStep(**{**step, "junit": tuple(step.get("junit", ()))}) for step in recorded["steps"])
    looked = tuple((tuple(call), answer) for call, answer in recorded["looked"])
    return Plan(steps, recorded["source"], recorded["name"], recorded["baseline"], recorded["reports"], looked)


def make_plan(ctx: Context, ports: Ports, task: TaskContext, workspace: Workspace, base_tree: str) -> Json:
    """The plan as JSON. Looks at the repository: to be recorded by the caller.

    :class:`TaskError` ``invalid_playbook``: the one in the repository cannot be used.
    """
    looks = Looks(workspace, base_tree)
    playbook = _playbook(ports, task, looks)
    source: Source = "task" if playbook is None else "playbook"
    if playbook is None and not task.test_commands and ports.playbooks and ctx.settings.get("detect_tests"):
        playbook = ports.playbooks.detected(looks.holds)
        source = "task" if playbook is None else "detected"
    reruns = min(int(ctx.settings.get("test_reruns", 0)), MAX_RETRIES)
    steps = [
        PlannedStep(
            run=step.run,
            name=step.name,
            when=step.when,
            timeout_seconds=step.timeout_seconds,
            retries=reruns if step.retries is None else step.retries,
            fail_fast=task.fail_fast if step.fail_fast is None else step.fail_fast,
            allow_failure=step.allow_failure,
            junit=tuple(step.junit),
        )
        for step in (playbook.steps if playbook else ())
    ]
    steps += [PlannedStep(command, retries=reruns, fail_fast=task.fail_fast) for command in task.test_commands]
    calls = {call for step in steps if step.when for call in check(step.when).calls if call[0] != "changed"}
    return Plan(
        tuple(steps),
        source,
        None if playbook is None else playbook.name,
        ctx.settings.get("baseline_tests", "off"),
        bool(ctx.settings.get("test_reports", False)),
        tuple((call, looks.answer(call)) for call in sorted(calls)),
    ).as_json()


def matches(pattern: str, paths: Iterable[str]) -> bool:
    """Whether one of ``paths`` matches ``pattern``, as in a ``.gitignore``."""
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines([pattern])
    return any(spec.match_file(path) for path in paths)


class Trees(Protocol):
    """What of a :class:`~necrocode.states.ports.Workspace` is used to look at a tree; see there."""

    def paths(self, tree: str) -> Sequence[str]:
        """Every path that is no folder."""

    def content(self, tree: str, path: str, *, max_bytes: int) -> bytes | None:
        """The bytes of a regular file."""


@dataclass
class Looks:
    """What a repository looks like in one tree."""

    trees: Trees
    tree: str
    _contents: dict[str, bytes | None] = field(default_factory=dict)

    @cached_property
    def paths(self) -> Sequence[str]:
        """Every file, links included."""
        return self.trees.paths(self.tree)

    def holds(self, condition: str) -> bool:
        """Whether a condition about the repository alone holds."""
        return evaluate(condition, Facts({name: getattr(self, name) for name in OF_THE_REPOSITORY}))

    def answer(self, call: tuple[str, ...]) -> bool | str:
        """What a call in a condition gives."""
        name, *texts = call
        assert name in OF_THE_REPOSITORY
        found: bool | str = getattr(self, name)(*texts)
        return found

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder; with ``*``, ``?`` or ``[``, whether a file matches the pattern."""
        if any(c in path for c in "*?["):
            return matches(path, self.paths)
        plain = path.strip("/").removeprefix("./")
        return any(each == plain or each.startswith(f"{plain}/") for each in self.paths)

    def contains(self, path: str, text: str) -> bool:
        """Whether the file is there and holds the text."""
        return text.encode() in (self.content(path) or b"")

    def field(self, path: str, name: str) -> str:
        """A field (``outer.inner``) of a JSON or TOML file as text; empty if anything on the way is missing."""
        content = self.content(path) or b""
        try:
            value = tomllib.loads(content.decode()) if path.endswith(".toml") else json.loads(content)
        except (ValueError, RecursionError):
            return ""
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)

    def defines(self, path: str, target: str) -> bool:
        """Whether the Makefile has a rule for the target."""
        text = (self.content(path) or b"").decode("utf-8", "replace")
        return re.search(rf"^{re.escape(target)}[ \t]*::?(?!=)", text, re.MULTILINE) is not None

    def content(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """The file's bytes, if it is a file of that size."""
        if path not in self._contents:
            self._contents[path] = self.trees.content(self.tree, path, max_bytes=max_bytes)
        return self._contents[path]


def _playbook(ports: Ports, task: TaskContext, looks: Looks) -> Playbook | None:
    path = task.playbook_path
    if task.playbook is not None or path is None:
        return task.playbook
    what = f"the playbook {path} in the repository"
    if ports.playbooks is None or is_outside(path) or ".." in path.split("/"):
        # Whoever made the run should have read it.
        raise TaskError(f"{what} cannot be read from there", stop_reason="invalid_playbook")
    content = looks.content(path, MAX_PLAYBOOK_BYTES)
    if content is None:
        why = f"is a link, or larger than {MAX_PLAYBOOK_BYTES:,} bytes" if looks.exists(path) else "does not exist"
        hint = "; a file of your own begins with ./ or /" if not looks.exists(path) else ""
        raise TaskError(f"{what} {why}{hint}", stop_reason="invalid_playbook")
    return ports.playbooks.read(content, what)


def _lean(step: PlannedStep) -> dict[str, Json]:
    """What is as :class:`PlannedStep` has it anyway is left out."""
    plain = PlannedStep("")
    names = PlannedStep.__slots__
    found = {name: getattr(step, name) for name in names if getattr(step, name) != getattr(plain, name)}
    return {**found, "junit": list(step.junit)} if step.junit else found
