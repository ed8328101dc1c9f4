"""``python -m tests.crash.power_cut --states N``: opens N disks after power cuts, and tries the negative controls."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from necrocode.engine.database import Durability
from tests.crash.power_cut.controls import CONTROLS, Control, caught
from tests.crash.power_cut.examining import Tally, examine
from tests.crash.power_cut.lives import DURABILITIES, LIVES, Life, record


def examination(life: Life, durability: Durability, states: int, seed: int) -> Tally:
    """One life's part of the campaign."""
    logging.disable(logging.CRITICAL)
    tally = Tally()
    with _folder() as folder:
        examine(record(life, durability, folder / "life"), states, folder / "cut", tally, seed=seed)
    return tally


def trial(control: Control, seed: int) -> int | None:
    """One negative control's part."""
    logging.disable(logging.CRITICAL)
    with _folder() as folder:
        return caught(control, folder, seed=seed)


@contextmanager
def _folder() -> Iterator[Path]:
    """In memory where there is such a place: what is synced for certain is told by the recording, not by a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="necrocode-cut-", dir=memory if os.access(memory, os.W_OK) else None
    ) as name:
        yield Path(name)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power_cut", description=__doc__)
    parser.add_argument("--states", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", type=Path, default=None, metavar="FILE")
    given = parser.parse_args()
    console, started, tally = Console(), time.monotonic(), Tally()
    work = [(life, durability) for life in LIVES for durability in DURABILITIES]
    with ProcessPoolExecutor(given.jobs) as workers, Progress(console=console) as progress:
        bar = progress.add_task(f"disks, seed {given.seed}", total=given.states)
        share = -(-given.states // len(work))
        examined = [workers.submit(examination, *each, share, given.seed) for each in work]
        tried = {each.name: workers.submit(trial, each, given.seed) for each in CONTROLS}
        for future in as_completed(examined):
            tally.add(future.result())
            progress.update(bar, completed=sum(tally.states.values()))
        controls = {name: future.result() for name, future in tried.items()}
    for words in tally.violations:
        console.print(f"[red]{words}[/]", soft_wrap=True)
    found = tally.to_json()
    for what, count in found["by_life"].items():
        console.print(f"{what}: {count} disks", highlight=False)
    for what, after in controls.items():
        console.print(f"negative control: {what}: " + (f"caught, disk {after}" if after else "MISSED"), highlight=False)
    missed = [what for what, after in controls.items() if after is None]
    console.print(
        f"{sum(tally.states.values())} disks ({tally.swept} of the sweep), {tally.gone_on} gone on with, "
        f"{len(tally.violations)} violations; {len(CONTROLS) - len(missed)} of {len(CONTROLS)} negative controls "
        f"caught; most acknowledged entries lost: {found['most_acknowledged_entries_lost']}",
        highlight=False,
    )
    if given.report is not None:
        told = {"seed": given.seed, "seconds": round(time.monotonic() - started), **found}
        document = {**told, "controls": {what: {"caught_at_disk": after} for what, after in controls.items()}}
        given.report.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if tally.violations or missed else 0


if __name__ == "__main__":
    sys.exit(main())
