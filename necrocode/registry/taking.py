"""Taking the next task of a registry: chosen, made a task context, claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from necrocode.engine.identity import ProcessIdentity
from necrocode.registry.records import OURS, Claim
from necrocode.registry.tasksets import SetTask, TaskSet, TaskState, next_ready
from necrocode.states.task import TaskContext
from necrocode.task_file import InvalidTask, LoadedTask, task_from

_OF_THE_TASK = frozenset({"task_id", "spec_name", "title", "description", "dependencies", "required_skill", "metadata"})
_TITLE = 200


class TaskSets(Protocol):
    """A registry that keeps task sets, from which tasks can be taken."""

    def specs(self) -> list[str]:
        """The names of the task sets, sorted."""

    def task_set(self, spec_name: str) -> TaskSet:
        """A task set as it is now. Raises :class:`~necrocode.errors.NotFound`."""

    def claim_of(self, task: SetTask) -> Claim | None:
        """Who took a running task, if that is known."""

    def claim(self, spec_name: str, task_id: str, mine: Claim, *, before: Claim | None = None) -> bool:
        """Take a ready task whose dependencies are done, atomically: it is running then. With ``before``, take over one
        that is running and still claimed by that. False if it is not so any more.
        """

    def merge(self, task_set: TaskSet, check: Callable[[TaskSet], None] = ...) -> TaskSet:
        """Take in a task set; returns it as it is then, with the tasks that were there and are not in what came.

        A task that is there already keeps its state, unless it comes in as done; nobody is interrupted. Raises
        :class:`~necrocode.errors.InvalidInput` if the whole would be no task set, and what ``check`` raises of it;
        nothing is written then.
        """

    def move(self, spec_name: str, task_id: str, to: TaskState) -> None:
        """Give a task another state by hand. Raises :class:`~necrocode.errors.NotFound` and
        :class:`~necrocode.registry.tasksets.IllegalTransition`.
        """

    def close(self) -> None:
        """Close what is open."""


@dataclass(frozen=True, slots=True)
class _Choice:
    task_set: TaskSet
    task: SetTask
    #: Whose claim is taken over; ``None``: the task is ready.
    before: Claim | None = None


def take_next(
    registry: TaskSets,
    mine: Claim,
    *,
    spec_name: str | None = None,
    optional: bool = False,
    may_go_on: Callable[[TaskContext, Claim], bool],
) -> LoadedTask | None:
    """Claim the next task of the registry (of ``spec_name``), and return it; ``None`` if there is none.

    First those that a dead process of the same home had claimed, if ``may_go_on`` says so: they were not finished.
    Then the ready ones, the highest priority first. Raises :class:`~necrocode.task_file.InvalidTask` for a task that
    lacks what a run needs, and what the registry raises.
    """
    while choice := _choose(registry, mine, spec_name, optional, may_go_on):
        task_set, task = choice.task_set, choice.task
        loaded = context_of(task_set, task)
        if registry.claim(task_set.spec_name, task.id, mine, before=choice.before):
            return loaded
    return None


def context_of(task_set: TaskSet, task: SetTask) -> LoadedTask:
    """The task context of a task of a set: what its ``metadata`` has of a task file's fields, the set's where it has
    not, and the rest as ``metadata``. Raises :class:`~necrocode.task_file.InvalidTask`.
    """
    given: Mapping[str, Any] = {**task_set.metadata, **task.metadata}
    known = TaskContext.model_fields.keys() - _OF_THE_TASK
    values = {
        "task_id": task.id,
        "spec_name": task_set.spec_name,
        "title": task.title[:_TITLE],
        "description": task.description if task.description.strip() else task.title,
        "dependencies": list(task.dependencies),
        "required_skill": task.required_skill,
        "metadata": {name: value for name, value in given.items() if name not in known and name != OURS},
        **{name: value for name, value in given.items() if name in known},
    }
    return task_from(values, what=f"task {task.id} of {task_set.spec_name}")


def _choose(
    registry: TaskSets,
    mine: Claim,
    spec_name: str | None,
    optional: bool,
    may_go_on: Callable[[TaskContext, Claim], bool],
) -> _Choice | None:
    sets = [registry.task_set(spec) for spec in (registry.specs() if spec_name is None else [spec_name])]
    for choice in _left_behind(registry, sets, mine):
        try:
            context = context_of(choice.task_set, choice.task).task
        except InvalidTask:
            continue
        assert choice.before is not None
        if may_go_on(context, choice.before):
            return choice
    found = [_Choice(each, task) for each in sets if (task := next_ready(each.tasks, optional=optional)) is not None]
    return max(found, key=lambda choice: choice.task.priority, default=None)


def _left_behind(registry: TaskSets, sets: list[TaskSet], mine: Claim) -> Iterator[_Choice]:
    host = ProcessIdentity.current().host
    for task_set in sets:
        for task in task_set.tasks:
            claim = registry.claim_of(task) if task.state == "running" else None
            if claim and (claim.home, claim.holder.host) == (mine.home, host) and claim.holder.is_alive() is False:
                yield _Choice(task_set, task, claim)
