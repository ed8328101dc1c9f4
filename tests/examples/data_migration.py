"""Another long job on the engine alone: a data migration that copies, switches and tells, and may be killed anywhere.

    python -m tests.examples.data_migration FOLDER

``FOLDER/old.csv`` (lines ``id,name``) becomes ``FOLDER/new/<id>.json``, row by row; then the link ``FOLDER/current`` is
switched from ``old.csv`` to ``new``; then one line is added to ``FOLDER/told.log``. Kill it and say the same again: it
goes on where it stopped, at most the row under way is copied again, and the line is written once.

This is all that a lifecycle of one's own needs: a table, a handler for each state, and a policy for each effect.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from necrocode.engine.claim import Observer
from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.effects import Attempt, Json, Reconcile
from necrocode.engine.errors import TaskError
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows
from necrocode.engine.runs import RunRecord


def nothing_was_lost(data: Mapping[str, Any]) -> bool:
    """As many rows were copied as there were."""
    return bool(data["copied"] == data["rows"])


LIFECYCLE = Lifecycle(
    name="data-migration",
    version=1,
    initial="counting",
    states=[
        State("counting", "reads what there is to copy"),
        State("copying", "copies row after row"),
        State("switching", "lets the new data be the current ones"),
        State("telling", "tells those who wait for it, once"),
        State("done", terminal=True),
        State("given_up", terminal=True),
    ],
    transitions=[
        Transition("counted", "counting", "copying"),
        Transition("copied", "copying", "switching", "nothing_was_lost"),
        Transition("switched", "switching", "telling"),
        Transition("told", "telling", "done"),
        *rows("error", ("counting", "copying"), "given_up"),
    ],
    guards={"nothing_was_lost": nothing_was_lost},
)


def program(folder: Path) -> Program:
    """The handlers, working in ``folder``."""

    def read() -> list[list[str]]:
        return [line.split(",", 1) for line in (folder / "old.csv").read_text(encoding="utf-8").splitlines()]

    def counting(ctx: Context) -> Outcome:
        table = ctx.observe("read", read)
        if any(len(row) != 2 for row in table):
            raise TaskError("old.csv has lines that are not id,name", stop_reason="bad_data")
        return Outcome("counted", {"rows": len(table)})

    def copying(ctx: Context) -> Outcome:
        table = ctx.observe("read", read)
        for number, name in table:

            def copy(_: Attempt, number: str = number, name: str = name) -> Json:
                (folder / "new").mkdir(exist_ok=True)
                (folder / "new" / f"{number}.json").write_text(json.dumps({"name": name}), encoding="utf-8")
                _note(folder / "copies.log", number)
                return {"id": number}

            # In doubt it is simply done again: writing the same file twice changes nothing.
            ctx.effect("copy", copy, key=number)
        return Outcome("copied", {"copied": len(table)})

    def switching(ctx: Context) -> Outcome:
        def switch(_: Attempt) -> Json:
            draft = folder / "current.new"
            draft.unlink(missing_ok=True)
            draft.symlink_to("new")
            draft.replace(folder / "current")
            return {}

        ctx.effect("switch", switch)
        return Outcome("switched")

    def telling(ctx: Context) -> Outcome:
        log = folder / "told.log"

        def tell(attempt: Attempt) -> Json:
            _note(log, attempt.idempotency_key)
            return {}

        def ask(attempt: Attempt) -> Json | None:
            told = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
            return {} if attempt.idempotency_key in told else None

        # In doubt the world is asked first: nobody wants to be told twice.
        ctx.effect("tell", tell, policy=Reconcile(ask))
        return Outcome("told")

    return Program(LIFECYCLE, {"counting": counting, "copying": copying, "switching": switching, "telling": telling})


def migrate(folder: Path, observer: Observer | None = None) -> RunRecord:
    """Begin the migration of ``folder``, or go on with the one that was begun; one that has ended stays as it is."""
    with Journal(folder / "journal.db") as journal:
        begun = journal.runs(subject=str(folder))
        run = begun[-1] if begun else journal.create(LIFECYCLE, subject=str(folder), data={})
        return Driver(journal, program(folder), observer=observer).drive(run.run_id)


def _note(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as log:
        log.write(f"{line}\n")


if __name__ == "__main__":
    print(migrate(Path(sys.argv[1])).state)  # noqa: T201
