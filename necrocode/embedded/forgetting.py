"""Forgetting: what the embedded services remember only to know a repeated or late request by goes in the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select

from necrocode.embedded.instants import to_microseconds
from necrocode.embedded.schema import loans, run_fences, task_fences, task_set_keys, task_set_versions, task_statuses
from necrocode.engine.database import Database

_AT_ONCE = 500
"""Runs whose rows go in one transaction: whoever else writes need not wait for all of them."""


def forget(database: Database, run_ids: Sequence[str], before: datetime) -> int:
    """Forget the idempotency keys and fences of ``run_ids``, and the keys of task sets replaced before ``before``.

    Returns how many rows went. The rule: a key goes once nobody can send it again. Of a run that is so when it has
    ended and nothing of it waits in the outbox, which the caller has to know from the run's own journal: a run of
    another home that used these services may be parked for ever, and its keys stay. Of a task set, whose key comes
    with one command of a person's, that is so a while after another version has taken its place.

    Events, reported artifacts and uploads keep theirs: they are what is kept, and not only how it is told apart. So do
    the last loan of each slot, whose generation counts on, and loans that have not ended.
    """
    gone = 0
    for start in range(0, len(run_ids), _AT_ONCE):
        those = run_ids[start : start + _AT_ONCE]
        later = loans.alias()
        last = select(func.max(later.c.generation)).where(later.c.slot_id == loans.c.slot_id).scalar_subquery()
        with database.write() as connection:
            for statement in (
                delete(task_statuses).where(task_statuses.c.run_id.in_(those)),
                delete(task_fences).where(task_fences.c.run_id.in_(those)),
                delete(run_fences).where(run_fences.c.run_id.in_(those)),
                delete(loans).where(
                    loans.c.run_id.in_(those), loans.c.ended_at.is_not(None), loans.c.generation < last
                ),
            ):
                gone += connection.execute(statement).rowcount
    # when the next one came: until then a key may have been answered with a version that is old
    replaced = (
        select(task_set_versions.c.version)
        .where(
            task_set_versions.c.spec_name == task_set_keys.c.spec_name,
            task_set_versions.c.version == task_set_keys.c.version + 1,
            task_set_versions.c.at < to_microseconds(before),
        )
        .exists()
    )
    with database.write() as connection:
        gone += connection.execute(delete(task_set_keys).where(replaced)).rowcount
    return gone
