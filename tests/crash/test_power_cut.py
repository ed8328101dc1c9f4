"""Power cuts: at ``power-loss`` nothing acknowledged is missing, and at ``process-crash`` the journal is whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from necrocode.engine.database import Durability
from necrocode.engine.testing.powercut import SECTOR, Disk, drawn, swept
from necrocode.engine.testing.recording import (
    Created,
    Deleted,
    NamesSynced,
    Operation,
    Recording,
    Synced,
    Truncated,
    Unrecordable,
    Wrote,
)
from tests.crash.power_cut.controls import CONTROLS, Control, caught
from tests.crash.power_cut.examining import Tally, examine
from tests.crash.power_cut.lives import CHECKPOINTS, DURABILITIES, ERRANDS, LIVES, Life, record


@pytest.fixture(autouse=True, scope="module")
def recordable(tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        Recording(tmp_path_factory.mktemp("recordable")).close()
    except Unrecordable as error:
        pytest.skip(str(error))


# --- the kit: what is recorded, and what may be left of it ---


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_a_disk_that_loses_nothing_has_what_the_file_system_has(life: Life, tmp_path: Path) -> None:
    recording = record(life, "power-loss", tmp_path).recording
    disk = Disk(recording)
    for operation in recording.operations:
        disk.do(operation)
    files = disk.files(disk.pending)
    assert {Created, Wrote, Synced, NamesSynced, Deleted} <= {type(each) for each in recording.operations}
    assert files == {path.name: path.read_bytes() for path in recording.folder.iterdir() if path.name in files}


@pytest.mark.parametrize(("durability", "syncs"), [("power-loss", 1), ("process-crash", 0)])
def test_each_acknowledgement_follows_a_sync_of_the_log(durability: Durability, syncs: int, tmp_path: Path) -> None:
    recorded = record(ERRANDS, durability, tmp_path)
    (log,) = {each.file for each in recorded.recording.operations if isinstance(each, Created)}
    told = sorted({at for at, _ in recorded.witness.told})
    for before, after in pairwise(told):
        made = recorded.recording.operations[before:after]
        assert made[-1] == Synced(log) if syncs else not any(isinstance(each, Synced) for each in made)


def test_the_log_is_emptied_in_the_midst_of_a_life(tmp_path: Path) -> None:
    recorded = record(CHECKPOINTS, "power-loss", tmp_path)
    database = recorded.recording.files["journal.db"]
    last = recorded.witness.told[-1][0]
    assert sum(each == Synced(database) for each in recorded.recording.operations[:last]) >= 5


class Scripted(Recording):
    """A recording that was written by hand: a file of three sectors, then what a test says."""

    def __init__(self, folder: Path, *operations: Operation) -> None:
        (folder / "a").write_bytes(b"a" * 3 * SECTOR)
        super().__init__(folder)
        self.close()
        self.operations = list(operations)


def contents(recording: Recording, name: str = "a") -> set[bytes | None]:
    cuts = [*swept(recording), *drawn(recording, 200)]
    return {cut.files.get(name) for cut in cuts if cut.position == len(recording.operations)}


def test_what_was_synced_is_there_after_any_cut(tmp_path: Path) -> None:
    assert contents(Scripted(tmp_path, Wrote(0, 0, b"b"), Synced(0))) == {b"b" + b"a" * (3 * SECTOR - 1)}


def test_what_was_not_synced_may_be_there_or_not_or_torn(tmp_path: Path) -> None:
    old, new = b"a" * SECTOR, b"b" * SECTOR
    found = contents(Scripted(tmp_path, Wrote(0, 0, 2 * new)))
    assert found == {3 * old, new + 2 * old, old + new + old, 2 * new + old}


def test_unsynced_writes_arrive_in_any_order(tmp_path: Path) -> None:
    found = contents(Scripted(tmp_path, Wrote(0, 0, b"b"), Truncated(0, 1), Wrote(0, 0, b"c")))
    assert {each and each[:1] for each in found} == {b"a", b"b", b"c"}
    assert {len(each or b"") for each in found} == {1, 3 * SECTOR}


def test_a_name_that_was_not_synced_may_be_missing_though_its_file_was(tmp_path: Path) -> None:
    begun = (Created("b", 1), Wrote(1, 0, b"new"), Synced(1))
    assert contents(Scripted(tmp_path, *begun), "b") == {None, b"new"}
    assert contents(Scripted(tmp_path, *begun, NamesSynced()), "b") == {b"new"}
    assert contents(Scripted(tmp_path, *begun, NamesSynced(), Deleted("b")), "b") == {None, b"new"}


def test_room_that_was_never_synced_may_hold_noise(tmp_path: Path) -> None:
    found = contents(Scripted(tmp_path, Wrote(0, 3 * SECTOR, b"b" * SECTOR)))
    ends = {(each or b"")[3 * SECTOR :] for each in found}
    assert {b"", b"b" * SECTOR} < ends
    assert all(each and each.startswith(b"a" * 3 * SECTOR) for each in found)


# --- the journal ---


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_a_power_cut_at_any_moment_breaks_no_promise(life: Life, durability: Durability, tmp_path: Path) -> None:
    recorded, tally = record(life, durability, tmp_path / "life"), Tally()
    examine(recorded, 40, tmp_path / "cut", tally)
    assert tally.violations == []
    assert sum(tally.states.values()) == 40
    assert tally.swept >= 10
    assert (tally.lost["power-loss"], tally.lost["process-crash"] > 0) == (0, durability == "process-crash")
    assert (tally.gone_on > 0) == (recorded.world is not None and durability == "power-loss")


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_a_journal_or_a_disk_that_does_not_sync_is_caught(control: Control, tmp_path: Path) -> None:
    assert caught(control, tmp_path) is not None
