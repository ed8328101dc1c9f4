"""``necrocode watch``: follow a run that another process drives."""

from __future__ import annotations

import time
from pathlib import Path

import click

from necrocode import exits
from necrocode.cli.session import common, leave, opened

POLL_SECONDS = 0.5


@click.command("watch")
@click.argument("run")
@common
def command(run: str, config_file: Path | None, home: Path | None) -> None:
    """Print RUN's journal as it grows, until the run ends, parks or is left by its process."""
    from necrocode.cli.show import line
    from necrocode.views import entry_json

    with opened(config_file, home) as runner:
        journal = runner.journal
        record, seen = journal.find(run), 0
        while True:
            driven = (holder := journal.holder(record.run_id)) is not None and holder.is_alive() is not False
            for entry in journal.entries(record.run_id, after=seen):
                click.echo(line(entry.seq, entry_json(journal, entry, whole=False)))
                seen = entry.seq
            record = journal.run(record.run_id)
            if record.status != "live" and record.head_seq == seen:
                click.echo(f"{record.state}: {record.status} {record.stop_reason or ''}".rstrip())
                leave(exits.exit_code(record))
            if not driven and record.head_seq == seen:
                click.echo(f"nobody drives it; go on with: necrocode resume {record.run_id}")
                leave(exits.ENVIRONMENT)
            time.sleep(POLL_SECONDS)
