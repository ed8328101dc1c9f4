"""``necrocode tasks``: the task sets of the registry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from necrocode.cli.session import common, counted, json_option, note, opened, print_json

if TYPE_CHECKING:
    from necrocode.imports.imported import Imported
    from necrocode.registry.taking import TaskSets
    from necrocode.registry.tasksets import SetTask, TaskSet

FORMATS = ("kiro", "github", "swe-bench", "task")
_BY_SUFFIX = {".md": "kiro", ".json": "github", ".jsonl": "swe-bench", ".yaml": "task", ".yml": "task"}


@click.group("tasks")
def command() -> None:
    """Task sets: import them, list them, take the next task with `necrocode run --next`.

    They are in the registry at task_registry_url, if that is set; else in the folder that task_registry_dir names, else
    below the home.
    """


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="If the name does not say: .md, .json, .jsonl, .yaml."
)
@click.option("--spec", help="The task set; if not given, the file says.")
@click.option("--repo", "repo_url", help="The repository of the tasks.")
@click.option("--base-branch", help="The branch to begin on, instead of the remote's default.")
@click.option("--test", "test_commands", multiple=True, metavar="COMMAND", help="A test command; may be repeated.")
@click.option("--setup", "setup_commands", multiple=True, metavar="COMMAND", help="A set-up command.")
@json_option
@common
def import_command(
    file: Path,
    form: str | None,
    spec: str | None,
    as_json: bool,
    config_file: Path | None,
    home: Path | None,
    **given: Any,
) -> None:
    """Import FILE (- is stdin): Kiro's tasks.md, GitHub issues as JSON, SWE-bench instances as JSONL, or task files.

    Imported again, tasks keep their states. When a task of a tasks.md is done, its box there is ticked.
    """
    from necrocode.registry.taking import context_of

    imported = _reader(file, form)(file, spec)
    extra = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
    tasks = tuple(replace(task, metadata={**task.metadata, **extra}) for task in imported.task_set.tasks)
    # For the set, too: tasks that come with a later import need no saying again.
    task_set = replace(imported.task_set, tasks=tasks, metadata={**imported.task_set.metadata, **extra})

    def check(whole: TaskSet) -> None:
        for task in whole.tasks:
            if not task.is_group and task.state != "done" and task.id in {each.id for each in tasks}:
                context_of(whole, task)

    with opened(config_file, home) as runner:
        registry = runner.task_sets
        whole = registry.merge(task_set, check)
    for warning in imported.warnings:
        note(f"warning: {warning}")
    gone = [task.id for task in whole.tasks if task.id not in {each.id for each in tasks}]
    if gone:
        note(f"warning: no longer in {file}, but kept: {', '.join(gone)}")
    if as_json:
        print_json({"tasks": [task_json(registry, whole.spec_name, task) for task in whole.tasks]})
        return
    states = ", ".join(f"{count} {state}" for state, count in Counter(task.state for task in whole.tasks).items())
    click.echo(f"{whole.spec_name}: {counted(len(tasks), 'task')} imported; now {states}")


@command.command("list")
@click.option("--spec", help="Only this task set.")
@json_option
@common
def list_command(spec: str | None, as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """List the tasks of every task set, in their order."""
    with opened(config_file, home) as runner:
        registry = runner.task_sets
        check_spec(registry, spec)
        sets = [registry.task_set(name) for name in (registry.specs() if spec is None else [spec])]
    if as_json:
        print_json({"tasks": [task_json(registry, each.spec_name, task) for each in sets for task in each.tasks]})
        return
    _print_table(sets)


@command.command("show")
@click.argument("spec")
@click.argument("task")
@json_option
@common
def show_command(spec: str, task: str, as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Show a task as a run would be given it, and what it waits for."""
    from necrocode.errors import InvalidInput, Problem
    from necrocode.registry.taking import context_of

    with opened(config_file, home) as runner:
        registry = runner.task_sets
        check_spec(registry, spec)
        task_set = registry.task_set(spec)
        found = next((each for each in task_set.tasks if each.id == task), None)
        if found is None:
            raise InvalidInput("the task's id", [Problem("", f"the task set {spec!r} has no task {task!r}")])
        context = (
            {} if found.is_group else context_of(task_set, found).task.model_dump(mode="json", exclude_defaults=True)
        )
        shown = {**task_json(registry, spec, found), "task": context}
    if as_json:
        print_json(shown)
        return
    states = {each.id: each.state for each in task_set.tasks}
    click.echo(f"{spec}/{found.id}: {found.title}\nstate: {found.state}")
    for name in found.dependencies:
        click.echo(f"after: {name} ({states[name]})")
    for name, value in context.items():
        if name not in ("task_id", "spec_name", "title", "dependencies"):
            click.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@command.command("move")
@click.argument("spec")
@click.argument("task")
@click.argument("state", type=click.Choice(["ready", "done", "failed"]))
@common
def move_command(spec: str, task: str, state: Any, config_file: Path | None, home: Path | None) -> None:
    """Give a task another state by hand, such as ready for one that failed."""
    from necrocode.errors import InvalidInput, NotFound, Problem
    from necrocode.registry.tasksets import IllegalTransition

    with opened(config_file, home) as runner:
        registry = runner.task_sets
        check_spec(registry, spec)
        try:
            registry.move(spec, task, state)
        except (IllegalTransition, NotFound) as error:
            raise InvalidInput("the move", [Problem("", str(error))]) from None


def check_spec(registry: TaskSets, spec: str | None) -> None:
    """Raises :class:`~necrocode.errors.InvalidInput` if a named task set is not there."""
    from necrocode.errors import InvalidInput, Problem, close_match

    known = registry.specs()
    if spec is not None and spec not in known:
        words = f"there is no task set {spec!r}{close_match(spec, known) or ': see necrocode tasks list'}"
        raise InvalidInput("the task set's name", [Problem("", words)])


def task_json(registry: TaskSets, spec_name: str, task: SetTask) -> dict[str, Any]:
    """A task, as ``tasks list --json`` prints it."""
    claim = registry.claim_of(task)
    return {
        "spec_name": spec_name,
        "id": task.id,
        "title": task.title,
        "state": task.state,
        "dependencies": list(task.dependencies),
        "priority": task.priority,
        "is_optional": task.is_optional,
        "is_group": task.is_group,
        "claimed_by": str(claim.holder) if claim else None,
    }


def _reader(file: Path, form: str | None) -> Callable[[Path, str | None], Imported]:
    form = form or _BY_SUFFIX.get(file.suffix.lower())
    if form == "kiro":
        from necrocode.imports.kiro import read_tasks

        return read_tasks
    if form == "github":
        from necrocode.imports.github import read_issues

        return read_issues
    if form == "swe-bench":
        from necrocode.imports.swe_bench import read_instances

        return read_instances
    if form == "task":
        from necrocode.imports.task_files import read_task_files

        return read_task_files
    raise click.UsageError(f"{file}: say what it is with --format {' | '.join(FORMATS)}")


def _print_table(sets: Sequence[TaskSet]) -> None:
    if not any(each.tasks for each in sets):
        click.echo("no tasks")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("spec", "task", "state", "after", "title"):
        table.add_column(column, overflow="fold")
    for each in sets:
        for task in each.tasks:
            mark = " (optional)" if task.is_optional else ""
            table.add_row(each.spec_name, task.id, task.state, ", ".join(task.dependencies), task.title + mark)
    Console(width=None if Console().is_terminal else 200).print(table)
