"""``python -m tests.crash.simulation --deaths N``: the campaign of simulated deaths, and the negative controls."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.crash.simulation.campaign import KINDS, Tally, campaign
from tests.crash.simulation.controls import CONTROLS, caught
from tests.crash.simulation.scenarios import SCENARIOS


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.simulation", description=__doc__)
    parser.add_argument("--deaths", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=None, help="stop after so many, whatever was reached")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", type=Path, default=None, metavar="FILE")
    parser.add_argument("--only", default="", metavar="WORDS", help="scenarios whose names hold these words")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    console, started = Console(), time.monotonic()
    scenarios = [scenario for scenario in SCENARIOS if given.only in scenario.name]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"deaths, seed {given.seed}", total=given.deaths)
        shown = 0

        def told(tally: Tally) -> None:
            nonlocal shown
            progress.update(bar, completed=sum(tally.deaths.values()))
            for words in tally.violations[shown:]:
                progress.console.print(f"[red]{words}[/]", soft_wrap=True)
            shown = len(tally.violations)

        tally = campaign(
            given.deaths,
            seed=given.seed,
            jobs=given.jobs,
            seconds=given.seconds,
            scenarios=scenarios,
            told=told,
        )
    elapsed = time.monotonic() - started
    controls = {control.name: caught(control) for control in CONTROLS}
    console.print(_table(tally))
    missed = [name for name, (schedules, found) in controls.items() if found < schedules or not schedules]
    for name, (schedules, found) in controls.items():
        console.print(f"negative control: {name}: {found} of {schedules} caught", highlight=False)
    total = sum(tally.deaths.values())
    console.print(
        f"{total} deaths in {sum(tally.trials.values())} trials, {tally.pauses} processes superseded, "
        f"{tally.failed} trials with violations; {len(CONTROLS) - len(missed)} of {len(CONTROLS)} negative controls "
        f"caught every time; seed {given.seed}, {total / elapsed:.0f} deaths/s"
    )
    if given.report is not None:
        told_controls = {name: {"schedules": tried, "caught": found} for name, (tried, found) in controls.items()}
        document = {"seed": given.seed, "seconds": round(elapsed), **tally.to_json(), "controls": told_controls}
        given.report.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if tally.failed or missed else 0


def _table(tally: Tally) -> Table:
    table = Table("schedule", "trials", "deaths")
    for kind in KINDS:
        table.add_row(kind, str(tally.trials[kind]), str(tally.deaths[kind]))
    table.add_section()
    moments = ("before", "during", "after")
    table.add_row("place", "", " / ".join(moments))
    for what in sorted({place.split(" ", 1)[1] for place in tally.places}):
        table.add_row(what, "", " / ".join(str(tally.places[f"{moment} {what}"]) for moment in moments))
    return table


if __name__ == "__main__":
    sys.exit(main())
