"""``necrocode runs``: the list of runs."""

from __future__ import annotations

from pathlib import Path

import click

from necrocode.cli.session import common, json_option, opened, print_json


@click.command("runs")
@click.option("--status", type=click.Choice(["live", "interrupted", "parked", "closed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Only so many, the newest.")
@json_option
@common
def command(status: str | None, limit: int | None, as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """List runs, oldest first."""
    from necrocode.views import instant, run_json

    with opened(config_file, home) as runner:
        runs = runner.journal.runs(*([status] if status else []))  # type: ignore[arg-type]
        if limit is not None:
            runs = runs[-limit:]
        if as_json:
            print_json({"runs": [run_json(runner.journal, run) for run in runs]})
            return
        if not runs:
            click.echo("no runs")
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for column in ("run", "task", "state", "status", "stop reason", "branch", "created"):
            table.add_column(column, overflow="fold")
        for run in runs:
            task = run.data.get("task", {})
            table.add_row(
                run.run_id,
                f"{task.get('spec_name')}/{task.get('task_id')}",
                run.state,
                run.status,
                run.stop_reason or "",
                str(run.data.get("branch") or ""),
                instant(run.created)[:19],
            )
        console = Console(width=None if Console().is_terminal else 200)
        console.print(table)
