"""Task files, such as ``necrocode run`` takes, put into a task set."""

from __future__ import annotations

from pathlib import Path

from necrocode.errors import Problem
from necrocode.imports.imported import Imported, InvalidImport
from necrocode.registry.tasksets import SetTask, TaskSet
from necrocode.states.task import TaskContext
from necrocode.task_file import load_tasks

_OF_THE_SET = frozenset({"task_id", "spec_name", "title", "description", "dependencies", "required_skill", "metadata"})


def read_task_files(path: Path, spec_name: str | None = None) -> Imported:
    """The tasks in the JSON or YAML at ``path`` (``-``: standard input), all of one spec or put into ``spec_name``.

    Raises :class:`InvalidImport`, and :class:`~necrocode.task_file.InvalidTask` as a run of them would.
    """
    loaded = load_tasks(path)
    specs = sorted({each.task.spec_name for each in loaded})
    if spec_name is None and len(specs) > 1:
        words = f"the tasks are of several specs: name one with --spec: {', '.join(specs)}"
        raise InvalidImport(f"task file {path}", [Problem("", words)])
    tasks = tuple(_set_task(each.task) for each in loaded)
    warnings = tuple(warning for each in loaded for warning in each.warnings)
    return Imported(TaskSet(spec_name or specs[0], tasks), warnings)


def _set_task(task: TaskContext) -> SetTask:
    fields = task.model_dump(mode="json", exclude=set(_OF_THE_SET), exclude_defaults=True)
    return SetTask(
        id=task.task_id,
        title=task.title,
        description=task.description,
        dependencies=tuple(task.dependencies),
        required_skill=task.required_skill,
        metadata={**task.metadata, **fields},
    )
