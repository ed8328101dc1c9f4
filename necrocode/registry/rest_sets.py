"""Task sets of a registry somewhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from necrocode.engine.errors import Transient
from necrocode.errors import InvalidInput, NotFound
from necrocode.registry.records import OURS, Claim, claim_in, ours_of
from necrocode.registry.tasksets import (
    STATES,
    IllegalTransition,
    SetTask,
    TaskSet,
    TaskState,
    merged,
    problems,
    settled,
)
from necrocode.rest import Answer, Call, Service, Token, segment

_PAGE = 1000
_TRIES = 5
_OF_A_TASK = ("id", "title", "description", "dependencies", "required_skill", "priority", "is_optional", "is_group")


class RemoteTaskSets:
    """Implements :class:`necrocode.registry.taking.TaskSets` over what ``necrocode serve`` answers.

    ===============================  ============================================================================
    call                             what for
    ===============================  ============================================================================
    ``GET /tasksets``                their names, in pages
    ``GET /tasksets/{spec}``         how a set describes its tasks
    ``PUT /tasksets/{spec}``         another version of it, if it is still at the one that was read (``If-Match``)
    ``GET /tasks?spec_name=``        the states of its tasks, and their versions
    ``GET /tasks/{id}``              those of one, before a claim or a move
    ``PUT /tasks/{id}/status``       a claim or a move, if the task is still at the version that was read
    ===============================  ============================================================================

    Raises as :class:`Service` says; :class:`NotFound`, too, where a registry knows no task sets at all.
    """

    def __init__(
        self,
        base_url: str,
        token: Token = None,
        *,
        timeout: timedelta = timedelta(seconds=30),
        mask: Callable[[str], str] = str,
    ) -> None:
        self._service = Service("task registry", base_url, token=token, timeout=timeout, mask=mask)

    def specs(self) -> list[str]:
        """The names of the task sets, sorted."""
        found = self._pages("list the task sets", "/tasksets", "tasksets", {})
        return sorted(_text(answer, each, "spec_name") for answer, each in found)

    def task_set(self, spec_name: str) -> TaskSet:
        """A task set as it is now. Raises :class:`NotFound`."""
        answer = self._service.call(Call("get the task set", "GET", _set_path(spec_name)))
        found = answer.mapping()
        params = {"spec_name": spec_name}
        rows = {
            _text(page, row, "task_id"): row for page, row in self._pages("list the tasks", "/tasks", "tasks", params)
        }
        version, metadata = found.get("version"), found.get("metadata")
        if not isinstance(version, int) or not isinstance(metadata, dict):
            raise answer.bad("a task set must have a version and metadata")
        tasks = tuple(_task(answer, each, rows) for each in _list(answer, found, "tasks"))
        return TaskSet(spec_name, tasks, metadata, version)

    def claim_of(self, task: SetTask) -> Claim | None:
        """Who took a running task, if that is known."""
        return claim_in(task.metadata)

    def claim(self, spec_name: str, task_id: str, mine: Claim, *, before: Claim | None = None) -> bool:
        """Take a ready task, or, with ``before``, one that is running and still claimed by that; False if it is not so
        any more: somebody else was faster.
        """
        task = self._task(spec_name, task_id)
        wanted = "ready" if before is None else "running"
        if task.state != wanted or (before is not None and claim_in(task.metadata) != before):
            return False
        kept = {"claim": replace(mine, at=(before or mine).at).to_json()}
        call = _status_call("claim the task", spec_name, task, "running", {OURS: kept})
        return self._service.call(call).status != 409

    def merge(self, task_set: TaskSet, check: Callable[[TaskSet], None] = lambda _: None) -> TaskSet:
        """Take in a task set; see :class:`necrocode.registry.taking.TaskSets`."""
        for _ in range(_TRIES):
            before = self._known(task_set.spec_name)
            whole = merged(before, task_set)
            found = problems(whole.tasks)
            if found:
                raise InvalidInput(f"the task set {task_set.spec_name!r}", found)
            whole = replace(whole, tasks=tuple(settled(whole.tasks)))
            check(whole)
            body = {"tasks": [_definition(task) for task in whole.tasks], "metadata": dict(whole.metadata)}
            what, path = "change the task set", _set_path(whole.spec_name)
            call = Call(what, "PUT", path, body=body, version=whole.version, accept=(409,))
            answer = self._service.call(call)
            if answer.status == 409 and answer.code == "version_conflict":
                continue
            if answer.status == 409:
                raise self._service.refused(call, answer)
            return self._finished(whole)
        raise Transient(f"the task set {task_set.spec_name!r} is being changed by others all the time: try again")

    def move(self, spec_name: str, task_id: str, to: TaskState) -> None:
        """Give a task another state by hand. Raises :class:`NotFound` and
        :class:`~necrocode.registry.tasksets.IllegalTransition`.
        """
        call = _status_call("move the task", spec_name, self._task(spec_name, task_id), to)
        answer = self._service.call(call)
        if answer.status == 409:
            raise IllegalTransition(str(self._service.refused(call, answer)))

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    # --- helpers ---

    def _known(self, spec_name: str) -> TaskSet | None:
        try:
            return self.task_set(spec_name)
        except NotFound:
            return None

    def _task(self, spec_name: str, task_id: str) -> SetTask:
        path, params = f"/tasks/{segment(task_id)}", {"spec_name": spec_name}
        answer = self._service.call(Call("get the task", "GET", path, params=params))
        row = answer.mapping()
        definition = row.get("definition")
        if not isinstance(definition, dict):
            raise NotFound(f"the task set {spec_name!r} has no task {task_id!r}")
        return _task(answer, definition, {task_id: row})

    def _finished(self, whole: TaskSet) -> TaskSet:
        """The set as it is now, once the tasks that came in as done are told of."""
        now = self.task_set(whole.spec_name)
        done = {task.id for task in whole.tasks if task.state == "done" and not task.is_group}
        late = [task for task in now.tasks if task.id in done and task.state not in ("done", "running")]
        for task in late:
            self._service.call(_status_call("move the task", whole.spec_name, task, "done"))
        return self.task_set(whole.spec_name) if late else now

    def _pages(
        self, what: str, path: str, field: str, params: Mapping[str, str]
    ) -> Iterator[tuple[Answer, Mapping[str, Any]]]:
        after: str | None = None
        while True:
            page = {**params, "limit": str(_PAGE), **({} if after is None else {"after": after})}
            answer = self._service.call(Call(what, "GET", path, params=page))
            found = answer.mapping()
            yield from ((answer, each) for each in _list(answer, found, field))
            after = found.get("next")
            if after is None:
                return
            if not isinstance(after, str):
                raise answer.bad("field 'next' of the answer must be text")


def _status_call(
    what: str, spec_name: str, task: SetTask, status: TaskState, metadata: Mapping[str, Any] | None = None
) -> Call:
    """Answered with 409 if the task has changed since it was read, or cannot become that."""
    body = {"status": status, "metadata": {**(metadata or {}), "spec_name": spec_name}}
    version = int(ours_of(task.metadata)["version"])
    return Call(what, "PUT", f"/tasks/{segment(task.id)}/status", body=body, version=version, accept=(409,))


def _set_path(spec_name: str) -> str:
    return f"/tasksets/{segment(spec_name)}"


def _list(answer: Answer, found: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    value = found.get(field)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise answer.bad(f"field {field!r} of the answer must be a list of objects")
    return value


def _text(answer: Answer, found: Mapping[str, Any], field: str) -> str:
    value = found.get(field)
    if not isinstance(value, str):
        raise answer.bad(f"each must have text in {field!r}")
    return value


def _task(answer: Answer, raw: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> SetTask:
    """A task as its set describes it (what the description has no field for becomes metadata), in its state."""
    row = rows.get(_text(answer, raw, "id"))
    if row is None or row.get("status") not in STATES or not isinstance(row.get("version"), int):
        raise answer.bad(f"task {raw['id']!r} must have a status and a version")
    described = raw.get("metadata")
    metadata = {name: value for name, value in raw.items() if name not in (*_OF_A_TASK, "metadata")}
    metadata |= described if isinstance(described, dict) else {}
    return SetTask(
        id=raw["id"],
        title=str(raw.get("title") or raw["id"]),
        description=str(raw.get("description") or ""),
        state=row["status"],
        dependencies=tuple(map(str, raw.get("dependencies") or ())),
        required_skill=raw.get("required_skill"),
        priority=raw.get("priority") or 0,
        is_optional=raw.get("is_optional") is True,
        is_group=raw.get("is_group") is True,
        metadata={**metadata, OURS: {**ours_of(row.get("metadata")), "version": row["version"]}},
    )


def _definition(task: SetTask) -> dict[str, Any]:
    given = {name: getattr(task, name) for name in _OF_A_TASK}
    metadata = {name: value for name, value in task.metadata.items() if name != OURS}
    return {**given, "dependencies": list(task.dependencies), "priority": int(task.priority), "metadata": metadata}
