"""Journals for the engine's tests: copies of one migrated file, since migrating takes longer than most tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from necrocode.engine.journal import Journal
from tests.engine.workshop import OpenJournal, Workshop
from tests.memory import tmp_path

__all__ = ["blank", "journal", "open_journal", "tmp_path", "workshop"]


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated journal without a run."""
    path = tmp_path_factory.mktemp("blank") / "journal.db"
    Journal(path).close()
    return path


@pytest.fixture
def open_journal(tmp_path: Path, blank: Path) -> Iterator[OpenJournal]:
    """Opens ``journal.db`` (or another name) of the test's folder, as often as it is called."""
    opened: list[Journal] = []

    def open_it(name: str = "journal.db", **options: object) -> Journal:
        path = tmp_path / name
        if not path.exists():
            shutil.copyfile(blank, path)
        options.setdefault("durability", "process-crash")
        opened.append(Journal(path, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_it
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(open_journal: OpenJournal) -> Journal:
    """An open journal."""
    return open_journal()


@pytest.fixture
def workshop(journal: Journal) -> Workshop:
    """A run of the workshop's lifecycle, ready to be driven by whatever a test calls its work."""
    return Workshop(journal)
