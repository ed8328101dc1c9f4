"""The embedded pool: slots lent to one run at a time, reused, cleaned, taken back from the dead."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.embedded.database import open_services
from necrocode.engine.database import Database
from necrocode.engine.errors import EnvironmentFault, Interrupted, TaskError, Transient
from necrocode.engine.stop import StopToken
from necrocode.git.workspace import GitWorkspace, GitWorkspaces
from necrocode.pool.embedded import EmbeddedPool
from necrocode.pool.holders import UNSEEN
from necrocode.states.ports import SlotAllocation
from tests.necrocode.git.repositories import Origin, git, picture, write

NONE = timedelta(0)


class Place:
    """A home with a pool, and what the pool asks about runs."""

    def __init__(self, root: Path, limit: int = 2) -> None:
        self.home = root / "home"
        self.root = root
        self.database: Database = open_services(self.home)
        self.over: set[str] = set()
        self.quiesced: list[str] = []
        self.pool = self.make(limit)

    def make(self, limit: int, epoch: int | None = None) -> EmbeddedPool:
        """The pool as a process sees it that drives its run in ``epoch``."""
        return EmbeddedPool(
            self.database,
            self.home,
            limit=limit,
            run_is_over=self.over.__contains__,
            quiesce=self.quiesced.append,
            poll=timedelta(milliseconds=10),
            epoch=lambda: epoch,
        )

    def allocate(
        self, run_id: str, *, key: str | None = None, url: str = "https://example.com/repo", timeout: timedelta = NONE
    ) -> SlotAllocation:
        """Borrow a slot."""
        return self.pool.allocate(url, run_id=run_id, key=key or f"{run_id}-1", timeout=timeout, stop=StopToken())

    def release(self, loan: SlotAllocation, run_id: str) -> None:
        """Give it back."""
        self.pool.release(loan, run_id=run_id, key=f"{run_id}-1")

    def borrow_and_die(self, run_id: str, *, url: str = "https://example.com/repo", then: str = "") -> None:
        """Another process borrows a slot and is killed with it."""
        script = f"""
import os, signal
from datetime import timedelta
from pathlib import Path
from necrocode.embedded.database import open_services
from necrocode.engine.stop import StopToken
from necrocode.pool.embedded import EmbeddedPool
home = Path({str(self.home)!r})
pool = EmbeddedPool(open_services(home), home, limit=9, run_is_over=lambda _: False, quiesce=lambda _: None)
loan = pool.allocate({url!r}, run_id={run_id!r}, key="{run_id}-1", timeout=timedelta(0), stop=StopToken())
(loan.slot_path / "left").write_text("by the dead")
{then}
os.kill(os.getpid(), signal.SIGKILL)
"""
        died = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL, died.stderr


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.database.close()


def test_a_slot_is_a_folder_of_its_own_under_the_home(place: Place) -> None:
    one, two = place.allocate("run-1"), place.allocate("run-2")
    assert one.slot_path != two.slot_path
    assert one.slot_path.is_dir()
    assert place.home.resolve() in one.slot_path.parents
    assert (one.kind, one.generation) == ("pool", 1)


def test_the_same_key_is_the_same_loan_until_it_ends(place: Place) -> None:
    loan = place.allocate("run-1")
    assert place.allocate("run-1") == loan
    place.release(loan, "run-1")
    again = place.allocate("run-1")
    assert again.slot_id == loan.slot_id
    assert again.generation == 2


@pytest.mark.parametrize("call", ["holds", "allocate", "release"])
def test_a_loan_that_a_later_epoch_holds_is_not_an_older_ones_to_use_or_end(place: Place, call: str) -> None:
    old, new = place.make(2, epoch=1), place.make(2, epoch=2)

    def asked(pool: EmbeddedPool) -> SlotAllocation:
        return pool.allocate("https://example.com/repo", run_id="run-1", key="k", timeout=NONE, stop=StopToken())

    loan = asked(old)
    assert old.holds(loan, run_id="run-1")
    assert new.holds(loan, run_id="run-1")
    (loan.slot_path / "work").write_text("of the new one")
    with pytest.raises(EnvironmentFault, match="epoch 2, not 1") as refused:
        match call:
            case "holds":
                old.holds(loan, run_id="run-1")
            case "allocate":
                asked(old)
            case _:
                old.release(loan, run_id="run-1", key="k")
    assert refused.value.stop_reason == "superseded"
    assert (loan.slot_path / "work").exists()
    new.release(loan, run_id="run-1", key="k")
    old.release(loan, run_id="run-1", key="k")
    (slot,) = place.pool.list_slots()
    assert (slot.status, slot.generation) == ("free", 1)


def test_a_slot_is_reused_and_its_history_kept(place: Place) -> None:
    for number in range(3):
        loan = place.allocate(f"run-{number}")
        place.release(loan, f"run-{number}")
    (slot,) = place.pool.list_slots()
    assert slot.status == "free"
    history = place.pool.history(slot.slot_id)
    assert [(entry.run_id, entry.generation, entry.ended_by) for entry in history] == [
        ("run-0", 1, "released"),
        ("run-1", 2, "released"),
        ("run-2", 3, "released"),
    ]
    assert all(entry.ended_at is not None and entry.ended_at >= entry.lent_at for entry in history)


def test_each_repository_has_its_own_slots_and_its_own_limit(place: Place) -> None:
    for number in range(2):
        place.allocate(f"a{number}", url="https://example.com/a")
        place.allocate(f"b{number}", url="https://example.com/b.git")
    assert len({slot.repo_key for slot in place.pool.list_slots()}) == 2
    with pytest.raises(Transient):
        place.allocate("b3", url="https://EXAMPLE.com/b/")


def test_when_all_are_lent_it_waits_and_then_says_so(place: Place) -> None:
    place.allocate("run-1")
    place.allocate("run-2")
    began = time.monotonic()
    with pytest.raises(Transient) as caught:
        place.allocate("run-3", timeout=timedelta(milliseconds=150))
    assert caught.value.stop_reason == "no_slot"
    assert 0.14 < time.monotonic() - began < 5


def test_a_slot_that_comes_back_is_given_to_the_one_that_waits(place: Place) -> None:
    loan = place.allocate("run-1")
    place.allocate("run-2")
    threading.Timer(0.1, lambda: place.release(loan, "run-1")).start()
    waited = place.allocate("run-3", timeout=timedelta(seconds=20))
    assert waited.slot_id == loan.slot_id
    assert waited.generation == 2


def test_a_stop_ends_the_wait(place: Place) -> None:
    place.allocate("run-1")
    place.allocate("run-2")
    stop = StopToken()
    threading.Timer(0.1, lambda: stop.stop(Interrupted())).start()
    with pytest.raises(Interrupted):
        place.pool.allocate(
            "https://example.com/repo", run_id="run-3", key="k", timeout=timedelta(seconds=30), stop=stop
        )


def test_a_release_counts_once_and_only_of_the_loan_it_names(place: Place) -> None:
    loan = place.allocate("run-1")
    place.release(loan, "run-2")
    assert place.pool.holds(loan, run_id="run-1")
    place.release(loan, "run-1")
    assert not place.pool.holds(loan, run_id="run-1")
    later = place.allocate("run-2")
    assert later.slot_id == loan.slot_id
    (later.slot_path / "work").write_text("of run 2")
    place.release(loan, "run-1")
    assert place.pool.holds(later, run_id="run-2")
    assert (later.slot_path / "work").read_text() == "of run 2"
    place.release(SlotAllocation("unknown", loan.slot_path, 1), "run-1")
    place.release(SlotAllocation(later.slot_id, later.slot_path, None), "run-2")
    assert place.pool.holds(later, run_id="run-2")


def test_of_many_that_ask_at_once_none_shares_a_slot(place: Place) -> None:
    pool = place.make(4)
    got: list[SlotAllocation] = []
    refused: list[str] = []

    def ask(number: int) -> None:
        try:
            got.append(
                pool.allocate(
                    "https://example.com/r", run_id=f"r{number}", key=f"k{number}", timeout=NONE, stop=StopToken()
                )
            )
        except Transient as error:
            refused.append(str(error.stop_reason))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({loan.slot_id for loan in got}) == len(got) == 4
    assert refused == ["no_slot"] * 6


def test_no_address_is_a_task_error(place: Place) -> None:
    with pytest.raises(TaskError) as caught:
        place.allocate("run-1", url="")
    assert caught.value.stop_reason == "repo_not_found"


# --- the dead ---------------------------------------------------------------------------------------------------------


def test_a_dead_holders_slot_is_kept_for_its_run_while_there_is_room(place: Place) -> None:
    place.borrow_and_die("dead")
    other = place.allocate("run-1")
    (dead,) = [slot for slot in place.pool.list_slots() if slot.run_id == "dead"]
    assert other.slot_id != dead.slot_id
    loan = SlotAllocation(dead.slot_id, dead.path, dead.generation)
    assert place.pool.holds(loan, run_id="dead"), "its next process finds it as it was"
    assert (dead.path / "left").exists()
    assert place.allocate("dead") == loan
    with pytest.raises(Transient):
        place.allocate("run-2")
    assert place.pool.leaked() == []


def test_a_dead_holders_slot_goes_back_when_its_run_is_over(place: Place) -> None:
    place.borrow_and_die("dead")
    place.over.add("dead")
    assert [(leak.slot.run_id, leak.run_is_over) for leak in place.pool.leaked()] == [("dead", True)]
    loan = place.allocate("run-1")
    assert place.quiesced == ["dead"]
    assert picture(loan.slot_path) == {}
    assert [entry.ended_by for entry in place.pool.history(loan.slot_id)] == ["reclaimed", None]


def test_an_orphans_slot_is_taken_only_when_there_is_no_other(place: Place) -> None:
    place.borrow_and_die("dead")
    place.allocate("run-1")
    assert place.quiesced == []
    loan = place.allocate("run-2")
    assert place.quiesced == ["dead"]
    assert picture(loan.slot_path) == {}
    assert loan.generation == 2
    assert not place.pool.holds(SlotAllocation(loan.slot_id, loan.slot_path, 1), run_id="dead")


def test_commands_of_a_run_that_goes_on_elsewhere_are_left_alone(place: Place) -> None:
    place.borrow_and_die("dead")
    (slot,) = place.pool.list_slots()
    again = place.allocate("dead", key="second tenure")
    assert again.slot_id == slot.slot_id, "a run's own older loan is over when it asks for another slot"
    assert place.quiesced == []
    place.release(again, "dead")


def test_a_process_that_died_in_the_middle_of_preparing_is_followed_by_one_that_cleans(place: Place) -> None:
    place.borrow_and_die("dead")
    with place.database.write() as connection:
        connection.exec_driver_sql("UPDATE slots SET status = 'preparing', former_run = 'older'")
    loan = place.allocate("dead")
    assert place.quiesced == ["older"]
    assert picture(loan.slot_path) == {}
    assert place.pool.list_slots()[0].status == "lent"


def test_a_holder_that_cannot_be_seen_counts_as_alive_until_it_was_silent_for_long(place: Place) -> None:
    place.borrow_and_die("far")
    place.over.add("far")
    with place.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE slots SET holder = json_set(holder, '$.pid_namespace', 'pid:[1]', '$.host', 'elsewhere')"
        )
    assert place.pool.leaked() == []
    assert place.allocate("run-1").slot_id != place.pool.list_slots()[0].slot_id
    with place.database.write() as connection:
        long_ago = int((time.time() - UNSEEN.total_seconds() - 1) * 1_000_000)
        connection.exec_driver_sql(f"UPDATE slots SET updated_at = {long_ago} WHERE run_id = 'far'")
    assert [leak.slot.run_id for leak in place.pool.leaked()] == ["far"]
    assert place.allocate("run-2").generation == 2
    assert place.quiesced == ["far"]


def test_renewing_says_that_the_holder_lives(place: Place) -> None:
    loan = place.allocate("run-1")
    before = place.pool.history(loan.slot_id)[0].renewed_at
    time.sleep(0.002)
    place.pool.renew(loan, run_id="run-1")
    place.pool.renew(loan, run_id="run-2")
    (entry,) = place.pool.history(loan.slot_id)
    assert entry.renewed_at > before
    assert entry.run_id == "run-1"


def test_doctor_takes_back_what_is_over_and_leaves_what_is_not(place: Place) -> None:
    place.borrow_and_die("ended")
    place.borrow_and_die("orphan")
    mine = place.allocate("run-1", url="https://example.com/other")
    place.over.add("ended")
    assert {(leak.slot.run_id, leak.run_is_over) for leak in place.pool.leaked()} == {
        ("ended", True),
        ("orphan", False),
    }
    (taken,) = place.pool.reclaim_leaked()
    assert place.pool.history(taken)[-1].ended_by == "reclaimed"
    assert {leak.slot.run_id for leak in place.pool.leaked()} == {"orphan"}
    assert place.pool.holds(mine, run_id="run-1")


def test_idle_slots_are_removed_and_their_history_stays(place: Place) -> None:
    held = place.allocate("run-1")
    idle = place.allocate("run-2")
    place.release(idle, "run-2")
    assert place.pool.remove_idle(timedelta(hours=1)) == []
    assert place.pool.remove_idle(NONE) == [idle.slot_id]
    assert not idle.slot_path.parent.exists()
    assert held.slot_path.exists()
    assert len(place.pool.history(idle.slot_id)) == 1
    anew = place.allocate("run-3")
    assert anew.slot_id == idle.slot_id
    assert anew.generation == 2, "a generation is never used twice"


@pytest.mark.parametrize("damage", ["gone", "a file", "a link", "slot folder gone", "has a .git"])
def test_a_damaged_slot_is_made_anew(place: Place, tmp_path: Path, damage: str) -> None:
    loan = place.allocate("run-1")
    place.release(loan, "run-1")
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, {"precious": "untouched"})
    if damage == "has a .git":
        write(loan.slot_path, {".git": f"gitdir: {elsewhere}"})
    elif damage == "slot folder gone":
        shutil.rmtree(loan.slot_path.parent)
    else:
        shutil.rmtree(loan.slot_path)
    if damage == "a file":
        loan.slot_path.write_text("x")
    elif damage == "a link":
        loan.slot_path.symlink_to(elsewhere)
    again = place.allocate("run-2")
    assert again.slot_path == loan.slot_path
    assert picture(again.slot_path, without=frozenset()) == {}
    assert not again.slot_path.is_symlink()
    assert (elsewhere / "precious").read_text() == "untouched"


# --- with a workspace in it -------------------------------------------------------------------------------------------


def _open(place: Place, loan: SlotAllocation, origin: Origin, run_id: str) -> GitWorkspace:
    return GitWorkspaces(place.home).open(loan, repo_url=origin.url, run_id=run_id)


def test_a_released_slot_keeps_the_bases_files_and_nothing_of_the_run(place: Place, tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a", "src/b": "b", ".gitignore": "*.tmp\n"})
    loan = place.allocate("run-1", url=origin.url)
    workspace = _open(place, loan, origin, "run-1")
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    inode = (loan.slot_path / "a").stat().st_ino
    write(
        loan.slot_path, {"new": "n", "x.tmp": "ignored", "src/b": "changed", "nested/.git/HEAD": "x", "nested/f": "f"}
    )
    workspace.snapshot()
    place.release(loan, "run-1")
    assert picture(loan.slot_path, without=frozenset()) == {
        b".gitignore": ("file", b"*.tmp\n"),
        b"a": ("file", b"a"),
        b"src/b": ("file", b"b"),
    }
    again = place.allocate("run-2", url=origin.url)
    assert again.slot_id == loan.slot_id
    assert (again.slot_path / "a").stat().st_ino == inode, "what is right already is not written again"
    second = _open(place, again, origin, "run-2")
    refs = second.fetch(base_branch=None, branch="x")
    second.lay(commit=refs.base_commit, tree=second.tree_of(refs.base_commit))
    assert git(again.slot_path, "status", "--porcelain", "--ignored") == ""


def test_the_most_recently_used_free_slot_goes_first(place: Place) -> None:
    one, two = place.allocate("run-1"), place.allocate("run-2")
    place.release(two, "run-2")
    place.release(one, "run-1")
    assert place.allocate("run-3").slot_id == one.slot_id


def test_a_slot_whose_cleaning_is_not_allowed_is_made_anew_or_kept_out(place: Place, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may remove anything")
    origin = Origin(tmp_path / "remote", {"a": "a"})
    loan = place.allocate("run-1", url=origin.url)
    write(loan.slot_path, {"locked/inner/f": "f"})
    (loan.slot_path / "locked" / "inner").chmod(0)
    (loan.slot_path / "locked").chmod(0o500)
    place.release(loan, "run-1")
    assert picture(place.allocate("run-2", url=origin.url).slot_path) == {}
