"""``necrocode verify``: the journal says what it said when it was written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from necrocode import exits
from necrocode.cli.session import common, counted, json_option, leave, opened, print_json

if TYPE_CHECKING:
    from necrocode.engine.journal import Journal


@click.command("verify")
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Every run (the default without RUN).")
@click.option("--heads", "print_heads", is_flag=True, help="Print the head hashes, to be kept elsewhere.")
@click.option(
    "--against", type=click.Path(path_type=Path), help="A file of heads that was kept: what they cover is checked."
)
@json_option
@common
def command(
    run: str | None,
    every: bool,
    print_heads: bool,
    against: Path | None,
    as_json: bool,
    config_file: Path | None,
    home: Path | None,
) -> None:
    """Verify hashes, links, blobs, transitions and the projection of RUN or of all runs. Damage: exit code 5."""
    from necrocode.engine import audit
    from necrocode.errors import InvalidInput, Problem
    from necrocode.states.lifecycle import LIFECYCLE

    if run and every:
        raise click.UsageError("name a run, or say --all, not both")
    kept = None
    if against is not None:
        try:
            kept = audit.Heads.from_json(json.loads(against.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"--against {against}", [Problem("", str(error))]) from error
    with opened(config_file, home) as runner:
        run_id = _whole_id(runner.journal, run) if run else None
        report = audit.verify(runner.journal, run_id=run_id, lifecycles={LIFECYCLE.name: LIFECYCLE}, against=kept)
        if as_json:
            document = {
                "ok": report.ok,
                "runs_checked": report.runs_checked,
                "entries_checked": report.entries_checked,
                "problems": [asdict(problem) for problem in report.problems],
            }
            if print_heads:
                document["heads"] = audit.heads(runner.journal).to_json()
            print_json(document)
        else:
            for problem in report.problems:
                where = f"run {problem.run_id}" if problem.run_id else "journal"
                entry = f", entry {problem.seq}" if problem.seq is not None else ""
                click.echo(f"{where}{entry}: {problem.problem}", err=True)
            if print_heads:
                print_json(audit.heads(runner.journal).to_json())
            verdict = "nothing is wrong" if report.ok else counted(len(report.problems), "problem")
            checked = f"{counted(report.runs_checked, 'run')}, {counted(report.entries_checked, 'entry')}"
            click.echo(f"{checked}: {verdict}", err=print_heads)
    leave(exits.COMPLETED if report.ok else exits.DAMAGED)


def _whole_id(journal: Journal, run: str) -> str:
    from necrocode.engine.errors import RunNotFound

    try:
        return journal.find(run).run_id
    except RunNotFound:
        # A run whose row was deleted is just what is looked for: its whole id finds its entries.
        if next(iter(journal.entries(run)), None) is None:
            raise
        return run
