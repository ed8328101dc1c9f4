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
@json_option
@common
def upgrade(as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Migrate every database file to what this release writes (opening one does the same)."""
    _report(as_json, config_file, home)


@command.command("check")
@json_option
@common
def check(as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Say which revision each file is at, and whether SQLite finds it whole. Damage: exit code 5."""
    if not _report(as_json, config_file, home):
        leave(exits.DAMAGED)


def _report(as_json: bool, config_file: Path | None, home: Path | None) -> bool:
    with opened(config_file, home) as runner:
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
