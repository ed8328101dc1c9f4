"""``necrocode db``: the database files' revisions."""

from __future__ import annotations

from pathlib import Path

import click

from necrocode import exits
from necrocode.cli.session import common, json_option, leave, opened, print_json


@click.group("db")
def command() -> None:
    """Upgrade or check the database files."""


@command.command("upgrade")
@click.option(
    "--take-over",
    is_flag=True,
    help="Even if a process that cannot be seen from here (a removed container, another machine) holds a run, if it "
    "gives no sign of life for the time of its lease.",
)
@json_option
@common
def upgrade(take_over: bool, as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Migrate every database file to what this release writes (opening one does the same).

    Refused while a run is driven. A run that a --take-over passed over is taken up by resume --take-over.
    """
    _report(as_json, config_file, home, take_over=take_over)


@command.command("check")
@json_option
@common
def check(as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Say which revision each file is at, and whether SQLite finds it whole. Damage: exit code 5."""
    if not _report(as_json, config_file, home):
        leave(exits.DAMAGED)


def _report(as_json: bool, config_file: Path | None, home: Path | None, *, take_over: bool = False) -> bool:
    with opened(config_file, home, take_over=take_over) as runner:
        found = []
        for database in (runner.journal.database, runner.services):
            with database.read() as connection:
                whole = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            found.append(
                {
                    "file": str(database.path),
                    "revision": database.revision(),
                    "expected": database.component.head,
                    "whole": whole == "ok",
                }
            )
        if as_json:
            print_json({"databases": found})
        else:
            for each in found:
                click.echo(f"{each['file']}: revision {each['revision']}, {'whole' if each['whole'] else 'DAMAGED'}")
        return all(each["whole"] for each in found)
