"""``necrocode cancel``: end a run, alive or dead, and clean up after it."""

from __future__ import annotations

import time
from pathlib import Path

import click

from necrocode import exits
from necrocode.cli.session import common, json_option, leave, note, opened, print_json

POLL_SECONDS = 0.2


@click.command("cancel")
@click.argument("run")
@click.option("--wait", type=float, default=60.0, show_default=True, help="Seconds to wait for its process.")
@json_option
@common
def command(run: str, wait: float, as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Cancel RUN. Its process is told; if that is dead, the run is cleaned up here."""
    from necrocode.cli.driving import stopping
    from necrocode.views import run_json

    with opened(config_file, home) as runner, stopping(runner):
        before = runner.journal.find(run)
        if before.status == "closed":
            note(f"run {before.run_id} has ended already: {before.state}")
        record = runner.cancel(before.run_id)
        deadline = time.monotonic() + wait
        while record.status == "live" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            record = runner.journal.run(before.run_id)
        if as_json:
            print_json({"run": run_json(runner.journal, record)})
        else:
            click.echo(f"{record.run_id}: {record.state} ({record.status})")
        if record.state == "completed" and before.status != "closed":
            note("too late: it was pushed already")
    leave(exits.COMPLETED if record.status == "closed" else exits.ENVIRONMENT)
