"""Writes the golden journal of the present revision, if there is none yet."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.journal import Journal
from necrocode.engine.schema import JOURNAL
from necrocode.engine.testing import Death, Mortal, Place
from necrocode.engine.testing.connections import mortal_connections
from tests.engine import errands

NOBODY = ProcessIdentity(pid=4242, start_time=1, boot_id="golden", pid_namespace="pid:[1]", host="golden")
"""Who wrote it: no process of any machine."""


def main() -> int:
    """A dinner whose process dies while a plate is being carried, as SQL, and what had happened outside by then."""
    here = Path(__file__).parent
    journal_file, world_file = here / f"{JOURNAL.head}.sql", here / f"{JOURNAL.head}.world"
    if journal_file.exists():
        sys.stderr.write(f"{journal_file.name} is there already, and stays as it is\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        path, remains = Path(folder, "journal.db"), Path(folder, "remains.db")
        world = errands.World(world_file, Mortal(while_carrying))
        Journal(path).close()
        # Tells the mortal which file is its own; whose name stands in it is told below.
        world.mortal.journal(path).close()
        with Journal(path, connections=mortal_connections(world.mortal), identity=NOBODY) as journal:
            try:
                errands.live(journal, world)
            except Death:
                world.mortal.remains(remains)
        with closing(sqlite3.connect(remains)) as raw:
            journal_file.write_text("\n".join(raw.iterdump()) + "\n")
    return 0


def while_carrying(place: Place) -> bool:
    """Carried, and nobody heard of it."""
    return (place.name, place.moment) == ("carry", "during")


if __name__ == "__main__":
    sys.exit(main())
