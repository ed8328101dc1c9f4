"""What any earlier release wrote is verified, migrated and resumed by this one."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.engine.audit import verify
from necrocode.engine.driver import Driver
from necrocode.engine.journal import Journal
from necrocode.engine.schema import JOURNAL
from tests.engine import errands, golden

GOLDEN = Path(golden.__file__).parent


def test_the_present_revision_has_a_golden_journal() -> None:
    assert (GOLDEN / f"{JOURNAL.head}.sql").exists(), "python -m tests.engine.golden writes it"


@pytest.mark.parametrize("revision", sorted(file.stem for file in GOLDEN.glob("*.sql")))
def test_a_journal_of_an_earlier_release_is_resumed(tmp_path: Path, revision: str) -> None:
    path, world = tmp_path / "journal.db", errands.World(tmp_path / "world")
    shutil.copyfile(GOLDEN / f"{revision}.world", world.path)
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript((GOLDEN / f"{revision}.sql").read_text())
        if revision != JOURNAL.head:
            # It would not be migrated under somebody who may be driving.
            raw.execute("UPDATE leases SET held = 0")
            raw.commit()
    with Journal(path) as journal:
        assert verify(journal, lifecycles={"errands": errands.TABLE}).problems == ()
        (run,) = journal.runs()
        assert (run.state, run.status) == ("serving", "live")
        driver = Driver(journal, errands.errands(world), ttl=timedelta(seconds=0.1))
        # Its holder is on a machine that nobody can ask: it is followed when its heartbeat stood still.
        run = driver.drive(run.run_id, take_over=True)
        assert (run.state, run.epoch) == ("sated", 2)
        errands.live(journal, world)
        errands.check(journal, world, 1)
