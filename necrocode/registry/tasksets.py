"""Task sets: the tasks of one specification, the states they may move between, and what one that is done frees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, get_args

from necrocode.engine.errors import EnvironmentFault
from necrocode.errors import Problem

TaskState: TypeAlias = Literal["ready", "running", "blocked", "done", "failed"]
STATES: tuple[TaskState, ...] = get_args(TaskState)

FOLLOWS: Mapping[str, tuple[TaskState, ...]] = {
    "blocked": ("done",),
    "ready": ("running", "done", "failed"),
    "running": ("ready", "done", "failed"),
    "failed": ("ready", "running", "done"),
    "done": ("ready", "running"),
}
"""What somebody may make of a task in each state. Between ``blocked`` and ``ready`` it goes by its dependencies alone.

A run that could not begin makes a ready task ``failed``; what was done by other means can be called ``done``. That a
run has ended is a fact, and is not asked of this.
"""


class IllegalTransition(EnvironmentFault):
    """A task of a task set cannot go from its state to that one."""

    stop_reason = "illegal_transition"


class VersionConflict(EnvironmentFault):
    """Somebody else has changed it meanwhile."""

    stop_reason = "version_conflict"


@dataclass(frozen=True, slots=True)
class SetTask:
    """One task of a task set."""

    id: str
    title: str
    description: str = ""
    state: TaskState = "ready"
    #: Ids of tasks of the same set that must be done first.
    dependencies: tuple[str, ...] = ()
    required_skill: str | None = None
    #: A higher one is taken first.
    priority: float = 0
    #: Nothing waits for it, and it is taken only if asked for.
    is_optional: bool = False
    #: Only holds others together: done by itself once they are, and never taken.
    is_group: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskSet:
    """The tasks of one specification, in its order."""

    spec_name: str
    tasks: tuple[SetTask, ...]
    #: What holds for every task of the set.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Grows with every change.
    version: int = 1


class Dependent(Protocol):
    """A task, as far as its place among others goes."""

    @property
    def id(self) -> str: ...

    @property
    def dependencies(self) -> Sequence[str]: ...


def problems(tasks: Sequence[Dependent]) -> list[Problem]:
    """What keeps ``tasks`` from being a task set; fields are such as ``tasks[2].dependencies``.

    An id that is there twice, a dependency that is no task of the set, and a cycle, which is named.
    """
    found: list[Problem] = []
    places: dict[str, int] = {}
    for place, task in enumerate(tasks):
        first = places.setdefault(task.id, place)
        if first != place:
            found.append(Problem(f"tasks[{place}].id", f"{task.id!r} is the id of tasks[{first}] already"))
    for place, task in enumerate(tasks):
        found += [
            Problem(f"tasks[{place}].dependencies", f"{wanted!r} is no task of this set")
            for wanted in task.dependencies
            if wanted not in places
        ]
    cycle = find_cycle(tasks)
    # With two tasks of one id, nobody can say which of them the others wait for.
    if cycle and len(places) == len(tasks):
        words = " → ".join((*cycle, cycle[0]))
        found.append(Problem(f"tasks[{places[cycle[0]]}].dependencies", f"go round in a circle: {words}"))
    return found


def find_cycle(tasks: Iterable[Dependent]) -> tuple[str, ...]:
    """Ids of tasks that depend on each other in a circle, each on the next and the last on the first; else nothing."""
    needs = {task.id: task.dependencies for task in tasks}
    finished: set[str] = set()
    for start in needs:
        # A path of (task, what it needs and was not looked at yet): no recursion, since chains are as long as sets.
        path = [(start, iter(needs[start]))] if start not in finished else []
        on_path = {start: 0}
        while path:
            task, rest = path[-1]
            wanted = next(rest, None)
            if wanted is None:
                path.pop()
                del on_path[task]
                finished.add(task)
            elif wanted in on_path:
                return tuple(each for each, _ in path[on_path[wanted] :])
            elif wanted in needs and wanted not in finished:
                on_path[wanted] = len(path)
                path.append((wanted, iter(needs[wanted])))
    return ()


def check_version(what: str, expected: int | None, found: int) -> None:
    """Raises :class:`VersionConflict` unless ``expected`` is ``found``, or nothing was expected."""
    if expected is not None and expected != found:
        raise VersionConflict(f"{what} is at version {found}, not {expected}: read it again, then change it")


def check_transition(task_id: str, old: str, new: str, unfinished: Sequence[str]) -> None:
    """Raises :class:`IllegalTransition`, naming what may follow, or the dependencies that are ``unfinished``."""
    if old == new or new in FOLLOWS.get(old, STATES):
        return
    if old == "blocked" and unfinished:
        names = ", ".join(repr(name) for name in unfinished)
        raise IllegalTransition(f"task {task_id!r} is blocked until {names} is done: it cannot become {new}")
    raise IllegalTransition(f"task {task_id!r} is {old} and cannot become {new}: only {' or '.join(FOLLOWS[old])}")


def state_by_dependencies(state: str, *, free: bool, is_group: bool) -> str:
    """The state of a task that is in ``state`` as far as it follows from whether its dependencies are all done."""
    if state not in ("blocked", "ready"):
        return state
    if not free:
        return "blocked"
    return "done" if is_group else "ready"


def settled(tasks: Sequence[SetTask]) -> list[SetTask]:
    """``tasks`` with each that is ready or blocked as its dependencies are; a group whose are all done becomes done,
    which may free others in turn.
    """
    now = {task.id: task for task in tasks}
    waiting_for: dict[str, list[str]] = {}
    for task in tasks:
        for wanted in task.dependencies:
            waiting_for.setdefault(wanted, []).append(task.id)
    to_look_at = [task.id for task in tasks]
    while to_look_at:
        task = now[to_look_at.pop()]
        state = state_by_dependencies(task.state, free=is_free(task, now), is_group=task.is_group)
        if state != task.state:
            now[task.id] = replace(task, state=state)  # type: ignore[arg-type]
            if state == "done":
                to_look_at += waiting_for.get(task.id, ())
    return [now[task.id] for task in tasks]


def merged(before: TaskSet | None, coming: TaskSet) -> TaskSet:
    """``coming`` taken into the set that was there: tasks that are not in it stay, in their places."""
    if before is None:
        before = TaskSet(coming.spec_name, (), version=0)
    came = {task.id: task for task in coming.tasks}
    known = {task.id: task for task in before.tasks}
    tasks = [
        replace(came[task.id], state=state_of_merged(task.state, came[task.id])) if task.id in came else task
        for task in before.tasks
    ]
    tasks += [replace(task, state=state_of_merged(None, task)) for task in coming.tasks if task.id not in known]
    metadata = {**before.metadata, **coming.metadata}
    return TaskSet(coming.spec_name, tuple(tasks), metadata, before.version)


def state_of_merged(state: TaskState | None, coming: SetTask) -> TaskState:
    """The state of a task that was in ``state`` (``None``: it is new), and comes in again; nobody is interrupted."""
    if state == "running":
        return state
    if coming.state == "done":
        return "done"
    if state in ("done", "failed") and not coming.is_group:
        return state
    # Whether it is ready is seen once all are there.
    return "blocked"


def is_free(task: SetTask, tasks: Mapping[str, SetTask]) -> bool:
    """Whether everything that ``task`` depends on is done."""
    return all(tasks[wanted].state == "done" for wanted in task.dependencies)


def next_ready(tasks: Sequence[SetTask], *, optional: bool = False) -> SetTask | None:
    """The task to take next: ready, its dependencies done, of the highest priority, and of those the first.

    Optional tasks only with ``optional``.
    """
    by_id = {task.id: task for task in tasks}
    free = [
        task
        for task in tasks
        if task.state == "ready" and not task.is_group and (optional or not task.is_optional) and is_free(task, by_id)
    ]
    return max(free, key=lambda task: task.priority, default=None)
