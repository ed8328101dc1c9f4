"""One process drives a run at a time: dead ones are followed at once, live ones left alone, old ones refused."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from necrocode.engine.canonical import canonical
from necrocode.engine.claim import Addition, Claim, OutboxItem, claim
from necrocode.engine.driver import POISON_DEATHS
from necrocode.engine.errors import EnvironmentFault, JournalDamaged, LeaseHeld, RunNotFound, Superseded
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.journal import Journal
from tests.engine import victims
from tests.engine.processes import outcome, running, start, wait_for
from tests.engine.workshop import Calls, OpenJournal, Workshop

SHORT = timedelta(seconds=0.6)


# --- epochs ---


def test_every_claim_raises_the_epoch(workshop: Workshop) -> None:
    for epoch in (1, 2, 3):
        held = claim(workshop.journal, workshop.run_id)
        assert held.epoch == epoch == workshop.run.epoch
        held.abandon()
    assert [payload["epoch"] for payload in workshop.payloads("lease", "claimed")] == [1, 2, 3]


def test_a_run_that_does_not_exist_cannot_be_claimed(journal: Journal) -> None:
    with pytest.raises(RunNotFound):
        claim(journal, "no such run")


def _append(held: Claim) -> Any:
    return held.append([Addition("outcome", "post", {"result": "x" * 5000})], outbox=[OutboxItem("i", "s", "c", {})])


@pytest.mark.parametrize(
    "attempt",
    [
        _append,
        lambda held: held.append([Addition("transition", "rest", {"visit": 1, "patch": {}}, state="resting")]),
        lambda held: held.append([Addition("parked", "broken", {"patch": {}})], release=True),
        lambda held: held.append([Addition("closed", "done", {})], release=True),
    ],
)
def test_an_old_holder_appends_nothing_and_frees_nothing(workshop: Workshop, attempt: Callable[[Claim], Any]) -> None:
    old = claim(workshop.journal, workshop.run_id)
    old.abandon()
    new = claim(workshop.journal, workshop.run_id)
    before = (workshop.entries, workshop.run)
    with pytest.raises(Superseded, match="epoch 1 is over"):
        attempt(old)
    with pytest.raises(Superseded, match="epoch 1 is over"):
        old.check()
    new.check()
    assert not old.beat()
    old.abandon()
    assert (workshop.entries, workshop.run) == before
    assert workshop.journal.holder(workshop.run_id) == ProcessIdentity.current()
    assert new.beat()
    new.append([Addition("warning", "fine", {})])


def test_a_holder_that_let_go_appends_nothing(workshop: Workshop) -> None:
    held = claim(workshop.journal, workshop.run_id)
    held.append([Addition("parked", "broken", {"patch": {}})], release=True)
    with pytest.raises(Superseded):
        held.append([Addition("warning", "late", {})])


def test_a_lease_that_was_lost_does_not_set_the_epoch_back(workshop: Workshop) -> None:
    workshop.drive(Calls([EnvironmentFault]))
    with workshop.journal.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM leases")
    assert claim(workshop.journal, workshop.run_id).epoch == 2


def test_a_head_that_moved_back_in_the_same_epoch_is_damage(workshop: Workshop) -> None:
    held = claim(workshop.journal, workshop.run_id)
    with workshop.journal.database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET head_seq = 1")
    with pytest.raises(JournalDamaged, match="its head is not entry 2 any more"):
        held.append([Addition("warning", "odd", {})])
    held.abandon()


# --- who may claim ---


def test_one_process_drives_a_run_once(workshop: Workshop) -> None:
    held = claim(workshop.journal, workshop.run_id)
    for take_over in (False, True):
        with pytest.raises(LeaseHeld, match="driven by this process already"):
            workshop.drive(lambda _: None, take_over=take_over)
    held.abandon()
    assert workshop.drive(lambda _: None).state == "done"


def test_a_lease_that_no_claim_of_this_process_holds_any_more_is_taken_again(workshop: Workshop) -> None:
    """A thread failed, and could not even give it back: a service that lives on must not be locked out for ever."""
    held = claim(workshop.journal, workshop.run_id)
    del held
    assert workshop.journal.holder(workshop.run_id) is not None
    assert workshop.drive(lambda _: None).state == "done"


def test_many_threads_that_claim_at_once_are_one_holder(workshop: Workshop) -> None:
    gate, got, refused = threading.Barrier(16), list[Claim](), list[str]()

    def take() -> None:
        gate.wait()
        try:
            got.append(claim(workshop.journal, workshop.run_id))
        except LeaseHeld as error:
            refused.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 15)
    assert workshop.run.epoch == 1


def test_many_processes_that_claim_at_once_are_one_holder(workshop: Workshop, tmp_path: Path) -> None:
    gate, said = tmp_path / "gate", [tmp_path / f"said-{n}" for n in range(6)]
    path = workshop.journal.path
    crowd = [start(victims.claim_many, path, workshop.run_id, gate, each) for each in said]
    for each in said:
        wait_for(each.with_suffix(".ready"))
    gate.touch()
    answers = sorted(wait_for(each) for each in said)
    for process in crowd:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert answers == ["got 1", *["held"] * 5]
    assert workshop.drive(lambda _: None).epoch == 2, "the holder was killed"


def test_a_dead_holder_is_followed_at_once(workshop: Workshop) -> None:
    assert outcome(start(victims.die_in_work, workshop.journal.path, workshop.run_id, "work")) == -signal.SIGKILL
    assert workshop.journal.holder(workshop.run_id) is not None, "it had no time to let go"
    begun = time.monotonic()
    run = workshop.drive(lambda ctx: [ctx.effect("first", Calls()), ctx.effect("deadly", Calls())])
    assert run.data["result"] == [1, "done 1"]
    assert time.monotonic() - begun < 15, "a heartbeat would be waited for twice as long"
    assert [payload["after_death"] for payload in workshop.payloads("lease", "claimed")] == [False, True]


def test_a_live_holder_is_left_alone(workshop: Workshop, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with running(victims.drive_and_wait, workshop.journal.path, workshop.run_id, said) as process:
        wait_for(said)
        with pytest.raises(LeaseHeld, match=f"driven by process {process.pid} on {socket.gethostname()}"):
            workshop.drive(lambda _: None)
        with pytest.raises(LeaseHeld, match="which is alive"):
            workshop.drive(lambda _: None, take_over=True, ttl=timedelta(seconds=30))
        assert process.is_alive()
        assert workshop.run.epoch == 1


def test_a_holder_that_is_cancelled_from_another_process_ends(workshop: Workshop, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with running(victims.drive_and_wait, workshop.journal.path, workshop.run_id, said) as process:
        wait_for(said)
        said.unlink()
        workshop.journal.request_cancel(workshop.run_id)
        process.join(20)
        assert wait_for(said) == "closed"
    assert workshop.run.state == "cancelled"


def test_a_stopped_holder_is_killed_by_a_take_over(workshop: Workshop, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with running(victims.hold_still, workshop.journal.path, workshop.run_id, said) as process:
        assert wait_for(said) == "1"
        with pytest.raises(LeaseHeld):
            workshop.drive(lambda _: None)
        assert workshop.drive(lambda _: None, take_over=True, ttl=SHORT).epoch == 2
        process.join(10)
        assert process.exitcode == -signal.SIGKILL
    assert wait_for(said) == "1", "it never came to append anything"


def test_a_holder_that_hangs_without_a_heartbeat_is_killed_too(workshop: Workshop, tmp_path: Path) -> None:
    said = tmp_path / "said"
    arguments = (victims.drive_and_wait, workshop.journal.path, workshop.run_id, said, 3600.0)
    with running(*arguments) as process:
        wait_for(said)
        run = workshop.drive(lambda ctx: ctx.effect("wait", Calls()), take_over=True, ttl=SHORT)
        assert run.epoch == 2
        process.join(10)
        assert process.exitcode == -signal.SIGKILL


def test_a_heartbeat_is_no_history(workshop: Workshop, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with running(victims.drive_and_wait, workshop.journal.path, workshop.run_id, said, 0.05):
        wait_for(said)
        before, beat = workshop.entries, _beat(workshop)
        deadline = time.monotonic() + 20
        while _beat(workshop) < beat + 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert workshop.entries == before


def _beat(workshop: Workshop) -> int:
    with workshop.journal.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT beat FROM leases").scalar_one())


# --- holders that are elsewhere ---


def held_by(workshop: Workshop, holder: ProcessIdentity) -> None:
    """A lease in somebody's name."""
    claim(workshop.journal, workshop.run_id)
    with workshop.journal.database.write() as connection:
        connection.exec_driver_sql("UPDATE leases SET holder = ?", (canonical(holder.to_json()),))


HERE = ProcessIdentity.current()
UNREACHABLE = {
    "another host": replace(HERE, host="elsewhere", boot_id="another"),
    "another PID namespace": replace(HERE, pid_namespace="pid:[1]"),
}


@pytest.mark.parametrize("where", UNREACHABLE)
def test_a_holder_that_cannot_be_seen_from_here_is_followed_when_its_heartbeat_stood_still(
    workshop: Workshop, where: str
) -> None:
    held_by(workshop, UNREACHABLE[where])
    with pytest.raises(LeaseHeld):
        workshop.drive(lambda _: None)
    begun = time.monotonic()
    assert workshop.drive(lambda _: None, take_over=True, ttl=SHORT).state == "done"
    assert time.monotonic() - begun >= SHORT.total_seconds()


@pytest.mark.parametrize("where", UNREACHABLE)
def test_a_holder_that_cannot_be_seen_from_here_and_beats_is_left_alone(workshop: Workshop, where: str) -> None:
    held_by(workshop, UNREACHABLE[where])

    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.3):
            with workshop.journal.database.write() as connection:
                connection.exec_driver_sql("UPDATE leases SET beat = beat + 1")

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with pytest.raises(LeaseHeld, match="which is alive"):
            workshop.drive(lambda _: None, take_over=True, ttl=timedelta(seconds=20))
    finally:
        over.set()
        heart.join()


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(replace(HERE, start_time=HERE.start_time + 1), id="its pid was given to another process"),
        pytest.param(replace(HERE, boot_id="the last boot"), id="the machine was booted anew"),
        pytest.param(replace(HERE, pid=2**22 + 1), id="there is no such process"),
    ],
)
def test_a_holder_that_is_certainly_gone_is_followed_at_once(workshop: Workshop, holder: ProcessIdentity) -> None:
    held_by(workshop, holder)
    assert workshop.drive(lambda _: None).state == "done"


def test_a_lease_that_names_nobody_is_damage(workshop: Workshop) -> None:
    claim(workshop.journal, workshop.run_id)
    with workshop.journal.database.write() as connection:
        connection.exec_driver_sql("UPDATE leases SET holder = '{}'")
    with pytest.raises(JournalDamaged, match="names no process"):
        workshop.drive(lambda _: None)


def test_a_holder_that_wakes_after_its_run_was_taken_appends_nothing(open_journal: OpenJournal, tmp_path: Path) -> None:
    """Taken over from where it could not be killed: the append itself refuses it."""
    workshop = Workshop(open_journal())
    said = tmp_path / "said"
    with running(victims.hold_still, workshop.journal.path, workshop.run_id, said) as process:
        assert wait_for(said) == "1"
        assert process.pid is not None
        elsewhere = replace(UNREACHABLE["another host"], pid=process.pid)
        with workshop.journal.database.write() as connection:
            connection.exec_driver_sql("UPDATE leases SET holder = ?", (canonical(elsewhere.to_json()),))
        run = workshop.drive(Calls([EnvironmentFault("broken")]), take_over=True, ttl=SHORT)
        before = workshop.entries
        said.unlink()
        os.kill(process.pid, signal.SIGCONT)
        assert wait_for(said) == "superseded"
        process.join(10)
    assert (run.epoch, workshop.entries) == (2, before)


def test_a_holder_hears_that_its_run_was_taken_and_stops(workshop: Workshop, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with running(victims.drive_and_wait, workshop.journal.path, workshop.run_id, said, 0.1) as process:
        wait_for(said)
        said.unlink()
        with workshop.journal.database.write() as connection:
            connection.exec_driver_sql("UPDATE leases SET epoch = epoch + 1")
        told = wait_for(said)
        assert told.startswith("LeaseHeld")
        assert "another process drives run" in told
        process.join(10)


# --- poison ---


def deaths(workshop: Workshop, where: str, times: int) -> None:
    for _ in range(times):
        process = start(victims.die_in_work, workshop.journal.path, workshop.run_id, where)
        assert outcome(process) == -signal.SIGKILL


def then(workshop: Workshop, **options: Any) -> Any:
    return workshop.drive(lambda ctx: [ctx.effect("first", Calls()), ctx.effect("deadly", Calls())], **options)


@pytest.mark.parametrize("where", ["work", "recovery"])
def test_a_run_that_kills_three_processes_at_one_place_is_poison(workshop: Workshop, where: str) -> None:
    if where == "recovery":
        deaths(workshop, "work", 1)
    deaths(workshop, where, POISON_DEATHS if where == "work" else POISON_DEATHS - 1)
    run = then(workshop)
    assert (run.status, run.stop_reason) == ("parked", "poison")
    assert "--force" in run.data["error"]
    before = workshop.entries
    with pytest.raises(EnvironmentFault, match="poison: resume it with --force"):
        then(workshop)
    assert workshop.entries == before, "it is not even taken up"
    assert then(workshop, force=True).state == "done"


def test_fewer_deaths_are_bad_luck(workshop: Workshop) -> None:
    deaths(workshop, "work", POISON_DEATHS - 1)
    assert then(workshop).state == "done"


def test_deaths_between_which_something_was_done_are_not_counted_together(workshop: Workshop) -> None:
    deaths(workshop, "work", 2)
    run = workshop.drive(
        lambda ctx: [ctx.effect("first", Calls()), ctx.effect("deadly", Calls([EnvironmentFault("no")]))]
    )
    assert run.status == "parked"
    deaths(workshop, "work", 2)
    assert then(workshop).state == "done"


def test_a_run_whose_parking_is_deadly_is_parked_without_letting_go(workshop: Workshop) -> None:
    deaths(workshop, "parking", POISON_DEATHS)
    let_go = Calls()
    assert outcome(start(victims.die_in_work, workshop.journal.path, workshop.run_id, "parking")) == -signal.SIGKILL
    run = workshop.drive(lambda _: None, park=lambda ctx, _: ctx.effect("free", let_go))
    assert (run.stop_reason, let_go.count) == ("poison", 0)


def test_a_journal_that_could_not_be_written_is_no_death(open_journal: OpenJournal) -> None:
    workshop = Workshop(open_journal())
    for _ in range(POISON_DEATHS + 1):
        held = claim(workshop.journal, workshop.run_id)
        held.abandon()
    assert workshop.drive(lambda _: None).state == "done"


# --- identity ---


def test_this_process_is_alive_and_is_itself() -> None:
    assert HERE.is_alive() is True
    assert ProcessIdentity.from_json(HERE.to_json()) == HERE == ProcessIdentity.current()
    assert HERE.pid == os.getpid()


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    identity = _identity_of(child.pid)
    assert identity.is_alive() is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_alive() is False, "not reaped yet, and gone all the same"
    child.communicate()
    assert identity.is_alive() is False


def test_a_process_is_killed_by_its_identity_and_no_other_by_its_number() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        identity = _identity_of(child.pid)
        assert replace(identity, start_time=identity.start_time - 1).kill(timedelta(seconds=1)), "that one is gone"
        assert child.poll() is None
        assert not UNREACHABLE["another host"].kill(timedelta(seconds=1))
        os.kill(child.pid, signal.SIGSTOP)
        assert identity.kill(timedelta(seconds=10))
        assert child.wait(10) == -signal.SIGKILL
        assert identity.kill(timedelta(seconds=1)), "twice is once"
    finally:
        child.kill()
        child.communicate()


@pytest.mark.skipif(os.geteuid() == 0 or not shutil.which("sleep"), reason="root may kill everything")
def test_a_process_of_somebody_else_is_not_ours_to_kill() -> None:
    assert _identity_of(1).kill(timedelta(seconds=1)) is False


def _identity_of(pid: int) -> ProcessIdentity:
    from necrocode.engine.identity import _stat

    return replace(HERE, pid=pid, start_time=_stat(pid)[1])
