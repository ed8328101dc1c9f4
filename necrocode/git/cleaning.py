"""A pool's slot between two runs: cleaned, or made anew."""

from __future__ import annotations

from pathlib import Path

from necrocode.disk import file_errors
from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.folders import make_folder
from necrocode.git import descriptors
from necrocode.git.layout import RepoPlace
from necrocode.git.objects import ObjectStore
from necrocode.git.slot import SlotFiles


def clean_slot(place: RepoPlace, number: int) -> Path:
    """Leave nothing of a run in the slot; returns its working copy.

    The files of the commit that the run stood on stay, exactly, so that the next lay is quick. A slot that cannot be
    cleaned, or is not there, is made anew. Raises :class:`EnvironmentFault` if that fails too.
    """
    slot = place.slot(number)
    work, state = slot / "work", slot / "state"
    with file_errors(slot, reason="slot_damaged"):
        try:
            if place.store.is_dir() and slot.is_dir():
                SlotFiles(work, state, ObjectStore(place.store)).clean()
                return work
        except EnvironmentFault as fault:
            if fault.stop_reason == "disk_full":
                raise
        remove_slot(place, number)
        work.mkdir(parents=True, mode=0o700)
    return work


def is_clean(place: RepoPlace, number: int) -> bool:
    """Whether a slot that was cleaned is still there: a folder without a ``.git``. No file in it is looked at."""
    with file_errors(place.slot(number), reason="slot_damaged"):
        try:
            with descriptors.directory(place.slot(number) / "work") as fd:
                return descriptors.kind_of(".git", fd) is None
        except (FileNotFoundError, NotADirectoryError):
            return False


def remove_slot(place: RepoPlace, number: int) -> None:
    """Remove the slot and what was remembered of it; none is fine."""
    with file_errors(place.slot(number), reason="slot_damaged"):
        slots = place.slot(number).parent
        make_folder(slots)
        with descriptors.directory(slots) as fd:
            descriptors.remove(str(number), fd)
