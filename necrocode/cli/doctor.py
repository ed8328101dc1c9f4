"""``necrocode doctor``: the machine, and what runs have left behind."""

from __future__ import annotations

from pathlib import Path

import click

from necrocode import exits
from necrocode.cli.session import common, json_option, leave, opened, print_json


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Deliver what waits, give leaked slots back, end leftover commands.")
@json_option
@common
def command(fix: bool, as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Look at the machine and the home. Exit code 0 if there is nothing to do, else 3."""
    from necrocode.doctor import examine

    with opened(config_file, home) as runner:
        findings = examine(runner, fix=fix)
        if as_json:
            print_json({"findings": [finding.to_json() for finding in findings]})
        else:
            for finding in findings:
                click.echo(f"{finding.mark:<5} {finding.subject}: {finding.words}")
                if finding.way_out:
                    click.echo(f"      → {finding.way_out}")
    leave(exits.COMPLETED if all(finding.fine for finding in findings) else exits.ENVIRONMENT)
