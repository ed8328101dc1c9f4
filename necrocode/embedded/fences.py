"""Fences: the newest epoch seen of each run; what comes under an older one is refused."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from necrocode.embedded.schema import run_fences
from necrocode.engine.database import Database
from necrocode.engine.errors import EnvironmentFault


def check_epoch(database: Database, run_id: str, epoch: int) -> None:
    """Remember ``epoch`` of the run. Raises :class:`EnvironmentFault` ``superseded`` if a newer one was seen."""
    known = select(run_fences.c.epoch).where(run_fences.c.run_id == run_id)
    with database.read() as connection:
        seen = connection.execute(known).scalar_one_or_none()
    if seen is None or seen < epoch:
        new = insert(run_fences).values(run_id=run_id, epoch=epoch)
        newer = new.on_conflict_do_update(
            index_elements=["run_id"],
            set_={"epoch": new.excluded.epoch},
            where=new.excluded.epoch > run_fences.c.epoch,
        )
        with database.write() as connection:
            connection.execute(newer)
            seen = connection.execute(known).scalar_one()
    if seen > epoch:
        raise EnvironmentFault(
            f"a newer epoch than {epoch} of run {run_id!r} was seen: another process drives the run now",
            stop_reason="superseded",
        )
