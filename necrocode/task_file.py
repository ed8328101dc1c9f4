"""Task files: JSON or YAML in, validated task contexts out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from necrocode.documents import UnreadableDocument, format_of, parse, read_bounded
from necrocode.errors import InvalidInput, Problem, close_match
from necrocode.states.task import TaskContext

MAX_TASKS = 1000
NOT_USED = ("slot_id",)
"""Fields that are accepted and do nothing yet."""


class InvalidTask(InvalidInput):
    """A task file that cannot be used; no run exists."""


@dataclass(frozen=True, slots=True)
class LoadedTask:
    """A task, and what there was to say about it."""

    task: TaskContext
    warnings: tuple[str, ...] = ()


def load_task(path: Path) -> LoadedTask:
    """The one task in the file at ``path`` (``-``: standard input).

    Raises :class:`InvalidTask` as :func:`load_tasks` does, and for a file with any other number of tasks.
    """
    loaded = load_tasks(path)
    if len(loaded) != 1:
        raise InvalidTask(_named(path), [Problem("", f"holds {len(loaded)} tasks where one is expected")])
    return loaded[0]


def load_tasks(path: Path) -> list[LoadedTask]:
    """The tasks in the file at ``path`` (``-``: standard input): a mapping is one task, a list several.

    The extension (.json, .yaml, .yml) says the format, else the content does. Keys that are not known are warnings.
    Raises :class:`InvalidTask` with every problem and its field, such as ``test_commands[1]``; in a list of tasks the
    fields begin with the task's place, such as ``[2].title``. Values are never repeated in a message.
    """
    form = format_of(path)
    try:
        if form == "toml":
            raise UnreadableDocument("is TOML: task files are JSON or YAML")
        document = parse(read_bounded(path), form)
    except UnreadableDocument as error:
        raise InvalidTask(_named(path), [Problem("", f"the file {error}")]) from None
    if isinstance(document, dict):
        return [task_from(document, what=_named(path), folder=_folder_of(path))]
    if not isinstance(document, list) or not document:
        raise InvalidTask(_named(path), [Problem("", "the file must hold a mapping (a task) or a list of them")])
    if len(document) > MAX_TASKS:
        raise InvalidTask(_named(path), [Problem("", f"holds more than {MAX_TASKS} tasks")])
    return _several(document, _named(path), _folder_of(path))


def task_from(values: Any, *, what: str = "the task", folder: Path | None = None) -> LoadedTask:
    """The task that ``values`` (as from JSON) describe; errors call them ``what``. Raises :class:`InvalidTask`.

    ``folder``: what the path of a playbook of the user's own is relative to; it is read here and now. ``None``: there
    is no user whose files these values may name.
    """
    from pydantic import ValidationError

    from necrocode.validation import problems_of

    if not isinstance(values, dict):
        raise InvalidTask(what, [Problem("", "must be a mapping of names to values")])
    try:
        task = TaskContext.model_validate(values)
    except ValidationError as error:
        unknown = [
            Problem(key, "is not known" + match)
            for key in sorted(values.keys() - TaskContext.model_fields.keys())
            # worth a line here only if it explains a problem: a required field, misspelt
            if (match := close_match(key, TaskContext.model_fields))
        ]
        raise InvalidTask(what, [*problems_of(error), *unknown]) from None
    warnings = [
        f"{what}: the key {key!r} is not known{close_match(key, TaskContext.model_fields)}" for key in task.unknown_keys
    ]
    warnings += [f"{what}: this release does not use {key!r} yet" for key in NOT_USED if getattr(task, key) is not None]
    return LoadedTask(with_playbook(task, what=what, folder=folder), tuple(warnings))


def with_playbook(task: TaskContext, *, what: str = "the task", folder: Path | None) -> TaskContext:
    """``task`` with the playbook in a file of the user's own, if it names one that was not read yet.

    ``folder`` and errors as :func:`task_from` has them.
    """
    from necrocode.states.playbook import is_outside

    if task.playbook_path is None or task.playbook is not None or not is_outside(task.playbook_path):
        return task
    if folder is None:
        raise InvalidTask(
            what, [Problem("playbook_path", "must lie in the repository: no file of this machine is read")]
        )
    from necrocode.testing.playbooks import InvalidPlaybook, load_playbook

    try:
        path = Path(task.playbook_path).expanduser()
        return task.model_copy(update={"playbook": load_playbook(folder / path)})
    except RuntimeError as error:
        raise InvalidTask(what, [Problem("playbook_path", f"cannot be expanded: {error}")]) from None
    except InvalidPlaybook as error:
        raise InvalidTask(
            what, [Problem(_within("playbook_path", each.field), each.message) for each in error.problems]
        ) from None


def _within(outer: str, field: str) -> str:
    return f"{outer}: {field}" if field else outer


def _folder_of(path: Path) -> Path:
    """What paths in a task file are relative to: its folder; of standard input, the present one."""
    return Path.cwd() if str(path) == "-" else path.absolute().parent


def _several(documents: list[Any], what: str, folder: Path) -> list[LoadedTask]:
    loaded: list[LoadedTask] = []
    problems: list[Problem] = []
    subjects: dict[str, int] = {}
    for place, values in enumerate(documents):
        try:
            found = task_from(values, what=f"{what}[{place}]", folder=folder)
        except InvalidTask as error:
            problems += [Problem(_below(place, problem.field), problem.message) for problem in error.problems]
            continue
        first = subjects.setdefault(found.task.subject, place)
        if first != place:
            problems.append(Problem(f"[{place}]", f"is the same task as [{first}]: repository, spec and id are equal"))
        loaded.append(found)
    if problems:
        raise InvalidTask(what, problems)
    return loaded


def _below(place: int, field: str) -> str:
    return f"[{place}].{field}" if field else f"[{place}]"


def _named(path: Path) -> str:
    return "the task on standard input" if str(path) == "-" else f"task file {path}"
