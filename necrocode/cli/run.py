"""``necrocode run``: tasks from their files to pushed branches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from necrocode import exits
from necrocode.cli.session import common, counted, json_option, leave, note, opened

if TYPE_CHECKING:
    from necrocode.runner import Runner
    from necrocode.states.task import TaskContext
    from necrocode.task_file import LoadedTask

SANDBOXES = ("auto", "bubblewrap", "landlock", "required", "off")


@click.command("run")
@click.argument("tasks", nargs=-1, metavar="[TASK…]")
@click.option("--next", "next_task", is_flag=True, help="The next ready task of the task sets, instead of TASK.")
@click.option("--spec", help="With --next: only of this task set.")
@click.option("--optional", is_flag=True, help="With --next: an optional task, too.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, help="How many tasks to work on at once.")
@click.option("--new", is_flag=True, help="Begin another run; refused while the present one has not ended.")
@click.option("--recover", is_flag=True, help="First go on with runs whose process died or that parked.")
@click.option("--branch", help="The branch to push to, instead of the task's.")
@click.option("--push/--no-push", default=None, help="Whether to push; if not, the commit is kept as an artifact.")
@click.option(
    "--push-partial-work/--no-push-partial-work",
    default=None,
    help="Whether a run that fails or is cancelled pushes what there is to wip/<branch>.",
)
@click.option("--model", "--llm-model", "llm_model", help="The model to ask.")
@click.option("--endpoint", "--llm-endpoint", "llm_endpoint", help="An OpenAI-compatible endpoint, up to /v1.")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="How commands are confined.")
@click.option("--network/--no-network", default=None, help="Whether commands may use the network.")
@click.option("--force", is_flag=True, help="Drive a run that was parked as poison.")
@click.option("--take-over", is_flag=True, help="Take the run from a process that gives no sign of life for its lease.")
@click.option("--record", type=click.Path(path_type=Path), help="Write the model's answers to this cassette.")
@click.option("--replay", type=click.Path(path_type=Path), help="Take the answers from a cassette; no model is asked.")
@json_option
@common
def command(
    tasks: tuple[str, ...],
    next_task: bool,
    spec: str | None,
    optional: bool,
    jobs: int,
    new: bool,
    recover: bool,
    branch: str | None,
    push: bool | None,
    push_partial_work: bool | None,
    llm_model: str | None,
    llm_endpoint: str | None,
    sandbox: str | None,
    network: bool | None,
    force: bool,
    take_over: bool,
    record: Path | None,
    replay: Path | None,
    as_json: bool,
    config_file: Path | None,
    home: Path | None,
) -> None:
    """Take each TASK (a JSON or YAML file; - is stdin) from its file to a pushed branch.

    A task that has a run already goes on with it. Killed in the middle, the same command goes on where it stopped.
    """
    from necrocode.cli.driving import Job, drive_all, recoverable, stopping
    from necrocode.errors import InvalidInput, Problem
    from necrocode.task_file import load_tasks

    if next_task == bool(tasks):
        raise click.UsageError("name tasks, or take the next one with --next")
    if (spec or optional) and not next_task:
        raise click.UsageError("--spec and --optional go with --next")
    loaded = [each for name in tasks for each in load_tasks(Path(name))]
    if branch is not None and len(loaded) > 1:
        raise InvalidInput("--branch", [Problem("", "names one branch, but there are several tasks")])

    def named(each: LoadedTask) -> TaskContext:
        return each.task if branch is None else with_branch(each.task, branch)

    # Before anything is opened: what is wrong leaves nothing behind.
    wanted = [named(each) for each in loaded]
    if replay is not None and llm_endpoint is not None:
        raise click.UsageError("--replay asks no --endpoint")
    with (
        replaying(replay) as recorded,
        opened(
            config_file,
            home,
            task_registry_dir=folder_of_tasks(config_file, home) if next_task else None,
            push=push,
            push_partial_work=push_partial_work,
            llm_model=llm_model,
            llm_endpoint=llm_endpoint if recorded is None else recorded.url,
            llm_api_key=None if recorded is None else recorded.key,
            sandbox=sandbox,
            network=network,
        ) as runner,
        stopping(runner),
    ):
        if next_task:
            loaded = [take(runner, spec, optional=optional)]
            wanted = [named(loaded[0])]
        for each in loaded:
            for warning in each.warnings:
                note(f"warning: {warning}")
        begun = {run.run_id: run for run in runner.begin_all(wanted, new=new)}
        job_list = [Job(run_id, attached=run.epoch > 0) for run_id, run in begun.items()]
        orphans = [orphan for orphan in runner.orphans() if orphan.run.run_id not in begun]
        died = [orphan for orphan in orphans if orphan.why in ("died", "parked")]
        if recover:
            job_list = [
                Job(orphan.run.run_id, attached=True) for orphan in recoverable(orphans, take_over=take_over)
            ] + job_list
        elif died:
            note(f"unfinished: {counted(len(died), 'other run')}; to go on with all of them: necrocode resume --all")
        codes = drive_all(runner, job_list, jobs=jobs, as_json=as_json, force=force, take_over=take_over)
        if record is not None:
            from necrocode.scripted import cassette

            cassette.save(record, cassette.cassette(runner.journal, list(begun)))
    leave(exits.worst(codes))


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where recorded answers are given, and the key that is asked for there."""

    url: str
    key: str


@contextmanager
def replaying(path: Path | None) -> Iterator[Recorded | None]:
    """Play a cassette on loopback; ``None`` if there is none to be played."""
    if path is None:
        yield None
        return
    from secrets import token_hex

    from necrocode.scripted import ScriptedServer
    from necrocode.scripted.cassette import load

    with ScriptedServer(load(path)) as server:
        yield Recorded(server.url, f"replayed-{token_hex(8)}")


def folder_of_tasks(config_file: Path | None, home: Path | None) -> Path | None:
    """Where the task sets are, if they are files: it is recorded with the run of a task out of them, since that must
    report there.
    """
    from necrocode.config_sources import load_config
    from necrocode.wiring import registry_folder

    config = load_config({"home": home}, config_file).config
    return registry_folder(config) if config.task_registry_url is None else None


def take(runner: Runner, spec: str | None, *, optional: bool) -> LoadedTask:
    """The next task, claimed for this process. Raises :class:`~necrocode.errors.InvalidInput` if there is none."""
    from datetime import UTC, datetime

    from necrocode.cli.tasks import check_spec
    from necrocode.engine.identity import ProcessIdentity
    from necrocode.errors import InvalidInput, Problem
    from necrocode.registry.records import Claim
    from necrocode.registry.taking import take_next

    undriven = {orphan.run.run_id: orphan.why for orphan in runner.orphans()}

    def may_go_on(task: TaskContext, claim: Claim) -> bool:
        """Whether the claim's run never began, or can be gone on with unasked."""
        runs = [run.run_id for run in runner.journal.runs(subject=task.subject) if run.created >= claim.at]
        whys = [undriven.get(run_id, "") for run_id in runs]
        if "interrupted" in whys:
            note(f"task {task.task_id} is left alone (stopped by a user): necrocode resume {runs[-1]}")
        return all(why in ("died", "parked") for why in whys)

    mine = Claim(str(runner.home.root), ProcessIdentity.current(), datetime.now(UTC))
    registry = runner.task_sets
    check_spec(registry, spec)
    taken = take_next(registry, mine, spec_name=spec, optional=optional, may_go_on=may_go_on)
    if taken is None:
        raise InvalidInput("--next", [Problem("", "no task is ready: see necrocode tasks list")])
    note(f"next task: {taken.task.spec_name}/{taken.task.task_id}: {taken.task.title}")
    return taken


def with_branch(task: TaskContext, branch: str) -> TaskContext:
    """The task with another branch, checked like one from a file."""
    from pydantic import ValidationError

    from necrocode.errors import InvalidInput, Problem

    try:
        return type(task).model_validate({**task.model_dump(), "branch_name": branch})
    except ValidationError as error:
        raise InvalidInput("--branch", [Problem("", str(error.errors()[0]["msg"]))]) from error
