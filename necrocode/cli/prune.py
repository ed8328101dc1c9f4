"""``necrocode prune``: old runs, their artifacts, snapshots and logs, and unused slots go."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from necrocode import exits
from necrocode.cli.session import common, counted, json_option, leave, note, opened, print_json


@click.command("prune")
@click.option(
    "--older-than",
    "--retention-days",
    "older_than",
    type=click.IntRange(0),
    help="Days since a run ended (default: retention_days).",
)
@click.option(
    "--slots-older-than",
    "--slot-retention-days",
    "slots_older_than",
    type=click.IntRange(0),
    help="Days a slot was unused (slot_retention_days).",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@common
def command(
    older_than: int | None,
    slots_older_than: int | None,
    dry_run: bool,
    as_json: bool,
    config_file: Path | None,
    home: Path | None,
) -> None:
    """Remove ended runs from the journal, each leaving a tombstone, with everything that was kept of them.

    Runs whose reports still wait in the outbox stay, and those whose bucket of artifacts cannot be used now. Types of
    artifacts that artifact_retention_days names are kept for so long, whatever becomes of their runs.
    """
    from necrocode.pruning import prune

    with opened(config_file, home, retention_days=older_than, slot_retention_days=slots_older_than) as runner:
        pruned = prune(runner, by=_who(), dry_run=dry_run)
        if as_json:
            print_json(pruned.to_json())
            leave(exits.ENVIRONMENT if pruned.problems else exits.COMPLETED)
        would = "would go" if dry_run else "gone"
        for run_id in pruned.runs:
            click.echo(f"run {run_id}: {would}")
        for slot_id in pruned.slots:
            click.echo(f"slot {slot_id}: {would}")
        click.echo(
            f"{counted(len(pruned.runs), 'run')}, {counted(len(pruned.slots), 'slot')}, "
            f"{counted(pruned.artifacts, 'artifact')} "
            f"({pruned.artifact_bytes:,} bytes): {would}"
        )
        for problem in pruned.problems:
            note(f"error: {problem}")
        leave(exits.ENVIRONMENT if pruned.problems else exits.COMPLETED)


def _who() -> str:
    """Who signs the tombstones off."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user without a passwd entry.
        return f"uid {os.getuid()}"
