"""A run taken from a process that stood still: killed first on the same host, followed by expiry from elsewhere.

Then the old one wakes. It appends nothing, and what it was about to do is refused by whoever it asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from necrocode.embedded.database import open_services
from necrocode.pool import loans
from necrocode.scripted.server import ScriptedServer
from tests.crash.paused import elsewhere, is_stopped, paused, start_elsewhere, stop, wake, why_not_elsewhere
from tests.e2e.stage import BRANCH, GATE, KEY, SOLVE, Stage, calls, script

pytestmark = pytest.mark.skipif(why_not_elsewhere() is not None, reason=why_not_elsewhere() or "")

BEFORE_PUSH = "intent pushing git.push/spawn"
BEFORE_UPLOAD = "intent uploading artifact.upload/begin services.db"
BEFORE_REPORT = "intent reporting registry.event/begin services.db"
BEFORE_RELEASE = "intent releasing slot.release/begin services.db"
WHILE_PARKING = "intent implementing slot.release/begin services.db"
BEFORE_COMMAND = "intent implementing tool.bash/mkdir"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage with short leases; in the end one push, one terminal event, every slot back, and nothing left behind."""
    stage = Stage(tmp_path, {"NECROCODE_LEASE_SECONDS": "1", "NECROCODE_SANDBOX": "off"})
    stage.make_remote()
    with ScriptedServer(script(*SOLVE, key=KEY)) as server:
        stage.use(server)
        yield stage
    assert (stage.only_run.state, stage.only_run.epoch) == ("completed", 2)
    assert stage.branch_updates(BRANCH) >= 1
    assert stage.events() == [("1", "RunnerStarted"), ("1", "TaskCompleted")]
    assert {loan.ended_by for loan in slot_loans(stage)} == {"released"}
    stage.left_nothing()


def slot_loans(stage: Stage) -> list[loans.Loan]:
    with closing(open_services(stage.home)) as services, services.read() as connection:
        (slot,) = loans.all_slots(connection)
        return loans.loans_of(connection, slot.slot_id)


def journal(stage: Stage) -> list[Any]:
    return [entry for entry, _ in stage.entries()]


@pytest.mark.parametrize("point", [BEFORE_UPLOAD, BEFORE_REPORT, BEFORE_RELEASE])
def test_a_process_that_wakes_after_its_run_was_taken_over_from_elsewhere_changes_nothing(
    stage: Stage, point: str
) -> None:
    with paused(stage, point, "run", stage.task()) as old:
        taken = elsewhere(stage, "resume", stage.only_run.run_id, "--take-over")
        assert taken.code == 0, taken.err
        assert is_stopped(old), "it could not be killed from there"
        before = journal(stage)
        woken = wake(stage, old)
    assert woken.code == 4, woken.err
    assert "another process drives run" in woken.err
    assert journal(stage) == before
    assert stage.branch_updates(BRANCH) == 1
    assert stage.necrocode("doctor").code == 0


def test_a_push_that_comes_too_late_overwrites_nothing(stage: Stage) -> None:
    with paused(stage, BEFORE_PUSH, "run", stage.task()) as old:
        taken = elsewhere(stage, "resume", stage.only_run.run_id, "--take-over")
        assert taken.code == 0, taken.err
        assert stage.branches()[BRANCH] == stage.only_run.data["commit"]
        theirs = stage.push({"more.txt": "somebody else's\n"}, branch=BRANCH)
        before = journal(stage)
        woken = wake(stage, old)
    assert woken.code == 4, woken.err
    assert journal(stage) == before
    assert stage.branches()[BRANCH] == theirs
    assert stage.branch_updates(BRANCH) == 2, "the run's, and theirs"


def test_a_process_that_wakes_while_parking_leaves_the_new_ones_slot_alone(stage: Stage) -> None:
    """The loan is the same one: it is the epoch that tells the old process from the new."""
    task = stage.task(test_commands=[GATE])
    with paused(stage, WHILE_PARKING, "run", task, LLM_API_KEY="a-wrong-key-this-is") as old:
        new = start_elsewhere(stage, "resume", stage.only_run.run_id, "--take-over")
        stage.wait_until(lambda: waits_in_tests(stage), new)
        before = journal(stage)
        woken = wake(stage, old)
        assert woken.code == 4, woken.err
        assert journal(stage) == before
        assert list(stage.lent_slots().values()) == [stage.only_run.run_id]
        stage.open_gate()
        taken = stage.finish(new)
    assert taken.code == 0, taken.err


def waits_in_tests(stage: Stage) -> bool:
    last = journal(stage)[-1]
    return bool((last.state, last.kind, last.name) == ("testing", "intent", "command.test"))


def test_a_command_that_was_settled_as_never_started_is_not_started_by_a_process_that_wakes(stage: Stage) -> None:
    with ScriptedServer(script(calls(("bash", {"command": "echo x >> late.txt"})), *SOLVE, key=KEY)) as server:
        stage.use(server)
        with paused(stage, BEFORE_COMMAND, "run", stage.task(test_commands=[GATE])) as old:
            new = start_elsewhere(stage, "resume", stage.only_run.run_id, "--take-over")
            stage.wait_until(lambda: waits_in_tests(stage), new)
            before = journal(stage)
            woken = wake(stage, old)
            assert woken.code == 4, woken.err
            assert journal(stage) == before
            assert not (Path(stage.only_run.data["slot"]["path"]) / "late.txt").exists()
            stage.open_gate()
            taken = stage.finish(new)
    assert taken.code == 0, taken.err


def test_a_live_holder_elsewhere_is_followed_when_its_heartbeat_stands_still_and_not_before(stage: Stage) -> None:
    stage.environment["NECROCODE_LEASE_SECONDS"] = "6"
    old = stage.start_gated("run", stage.task(test_commands=[GATE]))
    run_id = stage.only_run.run_id
    alive = elsewhere(stage, "resume", run_id, "--take-over")
    assert alive.code == 4, alive.err
    assert "which is alive" in alive.err
    unasked = elsewhere(stage, "resume", "--all")
    assert unasked.code == 0
    assert f"run {run_id} is left alone (its process cannot be seen from here)" in unasked.err
    stop(stage, old)
    stage.open_gate()
    taken = elsewhere(stage, "resume", "--all", "--take-over")
    assert taken.code == 0, taken.err
    assert is_stopped(old)
    before = journal(stage)
    woken = wake(stage, old)
    assert woken.code == 4, woken.err
    assert journal(stage) == before
    assert stage.branch_updates(BRANCH) == 1
