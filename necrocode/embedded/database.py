"""The database file of the embedded services, and the metadata their tables stand in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import MetaData

from necrocode.engine.database import Component, Database, Durability

SERVICES = Component(branch="services", head="s0002")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)
"""Every table of the embedded services."""


def open_services(
    home: Path, *, durability: Durability = "power-loss", lock_timeout: timedelta = timedelta(seconds=30)
) -> Database:
    """The services' database under ``home``, made and migrated if need be. Raises what :class:`Database` raises."""
    return Database(home / "services.db", SERVICES, durability=durability, lock_timeout=lock_timeout)
