"""``necrocode resume``: runs that were killed, interrupted or parked go on where they stopped."""

from __future__ import annotations

from pathlib import Path

import click

from necrocode import exits
from necrocode.cli.session import common, json_option, leave, note, opened


@click.command("resume")
@click.argument("runs", nargs=-1, metavar="[RUN]…")
@click.option("--all", "every", is_flag=True, help="Every run whose process died or that parked.")
@click.option("--interrupted", is_flag=True, help="With --all: also those that a user stopped.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, help="How many runs to work on at once.")
@click.option("--force", is_flag=True, help="Drive a run that was parked as poison.")
@click.option("--take-over", is_flag=True, help="Take the run from a process that gives no sign of life for its lease.")
@json_option
@common
def command(
    runs: tuple[str, ...],
    every: bool,
    interrupted: bool,
    jobs: int,
    force: bool,
    take_over: bool,
    as_json: bool,
    config_file: Path | None,
    home: Path | None,
) -> None:
    """Go on with each RUN (its id, or as much of the start or end of it as is unique).

    Without RUN and --all: with the one run that can be resumed, if there is only one.
    """
    from necrocode.cli.driving import Job, drive_all, recoverable, stopping

    if runs and every:
        raise click.UsageError("name runs, or say --all, not both")
    with opened(config_file, home) as runner, stopping(runner):
        if every:
            wanted = [
                orphan.run.run_id
                for orphan in recoverable(runner.orphans(), interrupted=interrupted, take_over=take_over)
            ]
        elif runs:
            wanted = list(dict.fromkeys(runner.journal.find(run).run_id for run in runs))
        else:
            orphans = [orphan for orphan in runner.orphans() if take_over or orphan.why != "unseen"]
            if len(orphans) > 1:
                names = "\n  ".join(f"{o.run.run_id} {o.run.state} ({o.why})" for o in orphans)
                raise click.UsageError(f"{len(orphans)} runs can be resumed; name one, or say --all:\n  {names}")
            wanted = [orphan.run.run_id for orphan in orphans]
        if not wanted:
            note("there is nothing to resume")
        jobs_to_do = [Job(run_id, attached=True) for run_id in wanted]
        codes = drive_all(runner, jobs_to_do, jobs=jobs, as_json=as_json, force=force, take_over=take_over)
    leave(exits.worst(codes))
