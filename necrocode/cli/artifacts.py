"""``necrocode artifacts``: what was kept of runs, listed and exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from necrocode.cli.session import common, counted, json_option, note, opened, print_json

F = TypeVar("F", bound=Callable[..., Any])


@click.group("artifacts")
def command() -> None:
    """What was kept of runs: diffs, logs, test results.

    On this machine and in the bucket (s3://, gs://) that its runs used. A REST store cannot be asked what it has.
    """


def _which(function: F) -> F:
    for option in (
        click.option("--type", help="Only of this type: diff, log, test, bundle."),
        click.option("--task", metavar="SPEC/ID", help="Only of this task's runs."),
        click.option("--run", help="Only of this run (its id, or as much of it as is unique)."),
    ):
        function = option(function)
    return function


@command.command("list")
@_which
@json_option
@common
def list_command(
    run: str | None, task: str | None, type: str | None, as_json: bool, config_file: Path | None, home: Path | None
) -> None:
    """List artifacts, oldest first.

    Those of the same task, type and name are versions of each other, counted from the oldest that is still kept.
    """
    from necrocode.artifacts.listing import list_versions

    with opened(config_file, home) as runner:
        versions = list_versions(runner, run=run, task=task, type=type)
        _note_rest(runner.config.artifact_store_url)
    if as_json:
        print_json({"artifacts": [version.to_json() for version in versions]})
        return
    if not versions:
        click.echo("no artifacts")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "type", "version", "bytes", "sha256", "created", "uri"):
        table.add_column(column, overflow="fold")
    for version in versions:
        shown = version.to_json()
        table.add_row(
            shown["name"],
            shown["type"],
            str(version.number),
            f"{shown['size_bytes']:,}",
            shown["sha256"][:12],
            shown["created_at"][:19],
            shown["uri"],
        )
    console = Console(width=None if Console().is_terminal else 240, markup=False, highlight=False)
    console.print(table)


@command.command("export")
@_which
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.argument("file", type=click.Path(path_type=Path))
@common
def export_command(
    run: str | None,
    task: str | None,
    type: str | None,
    force: bool,
    file: Path,
    config_file: Path | None,
    home: Path | None,
) -> None:
    """Write artifacts to FILE, a ZIP, each as <run>/<type>/<version>-<name>, beside a manifest.json."""
    from necrocode.artifacts.archive import export
    from necrocode.artifacts.listing import list_versions

    with opened(config_file, home) as runner:
        versions = list_versions(runner, run=run, task=task, type=type)
        _note_rest(runner.config.artifact_store_url)
        size = export(versions, file, force=force)
    click.echo(f"{file}: {counted(len(versions), 'artifact')} ({size:,} bytes)")


def _note_rest(url: str | None) -> None:
    from necrocode.config import BUCKETS

    if url is not None and not url.startswith(BUCKETS):
        note(f"note: {url} cannot be asked what it has: only what is kept elsewhere is here")
