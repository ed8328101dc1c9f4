"""Commands whose runner, supervisor or keeper died: adopted, or settled for good, and never started twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.files import ENDING_BYTES
from necrocode.commands.link import SupervisorLink
from necrocode.engine.errors import Interrupted, StopSignal, Superseded
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandResult, CommandSpec
from tests.necrocode.commands.conftest import Mode
from tests.necrocode.commands.driving import (
    UNTIL_TOLD,
    folder,
    keeper_pid,
    processes_called,
    processes_of,
    runner_process,
    spec,
    tell,
    wait_until,
)


@pytest.mark.parametrize("whole_group", [False, True], ids=["runner", "process group"])
def test_a_killed_runners_command_is_adopted(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, mode: Mode, whole_group: bool
) -> None:
    one = spec(slot, f"echo x >> f; {UNTIL_TOLD}; echo done; echo y >> f")
    _start_and_kill_runner(commands_dir, mode, one, slot / "f", whole_group=whole_group)
    assert (slot / "f").read_text() == "x\n"
    tell(slot, seconds=0.1)
    result = runner.attach(one, StopToken())
    assert (result.status, result.exit_code, result.output) == ("exited", 0, "done\n")
    assert (slot / "f").read_text() == "x\ny\n"
    assert processes_of(one.command_id) == []
    wait_until(lambda: not processes_called(str(commands_dir)), seconds=5)
    # and again, by whoever asks; nothing is run a second time by anyone
    assert runner.attach(one, StopToken()) == result
    assert runner.run(one, StopToken()) == result
    assert (slot / "f").read_text() == "x\ny\n"


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 3, 5, 8, 15, 40])
def test_killed_at_any_moment_it_ran_once_or_never_will(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, mode: Mode, milliseconds: int
) -> None:
    one = spec(slot, "echo x >> f; sleep 0.01; echo done; echo y >> f")
    process = runner_process(commands_dir, mode, one)
    # counted from the moment in which the runner has its supervisor; both may be gone before we look
    wait_until(lambda: processes_called(f"launch.py\0{commands_dir}\0") or process.poll() is not None)
    time.sleep(milliseconds / 1000)
    process.kill()
    process.communicate()
    result = runner.attach(one, StopToken())
    written = (slot / "f").read_text() if (slot / "f").exists() else ""
    assert (result.status, result.output, written) in [("exited", "done\n", "x\ny\n"), ("interrupted", "", "")]
    wait_until(lambda: not processes_called(f"launch.py\0{commands_dir}\0"))
    assert (slot / "f").exists() == (result.status == "exited")


def test_a_command_that_ended_meanwhile_gives_its_result(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, mode: Mode
) -> None:
    one = spec(slot, f"touch f; {UNTIL_TOLD}; echo done; exit 5")
    _start_and_kill_runner(commands_dir, mode, one, slot / "f")
    tell(slot)
    wait_until(lambda: folder(commands_dir, one.command_id).ending() is not None)
    result = runner.attach(one, StopToken())
    assert (result.status, result.exit_code, result.output) == ("exited", 5, "done\n")


def test_an_interrupt_at_the_terminal_does_not_reach_the_command(slot: Path, commands_dir: Path) -> None:
    one = spec(slot, f"touch f; {UNTIL_TOLD}; echo done")
    process = runner_process(commands_dir, "off", one, own_group=True)
    wait_until((slot / "f").exists)
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGHUP)
    process.communicate()
    tell(slot)
    with SupervisedCommands(commands_dir, sandbox="off") as runner:
        assert runner.attach(one, StopToken()).output == "done\n"


def test_an_adopted_command_keeps_its_timeout(runner: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, "touch f; sleep 300", timeout=0.8)
    stop = StopToken()
    _leave_running(runner, one, slot / "f")
    result = runner.attach(one, stop)
    assert result.status == "timeout"
    assert processes_of(one.command_id) == []


def test_an_adopted_command_can_be_stopped(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, mode: Mode
) -> None:
    one = spec(slot, "echo begun; touch f; sleep 300")
    _start_and_kill_runner(commands_dir, mode, one, slot / "f")
    stop = StopToken()
    threading.Timer(0.2, lambda: stop.stop(Interrupted())).start()
    result = runner.attach(one, stop)
    assert (result.status, result.output) == ("stopped", "begun\n")
    assert processes_of(one.command_id) == []


def test_attaching_is_superseded_without_touching_the_command(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, mode: Mode
) -> None:
    one = spec(slot, f"touch f; {UNTIL_TOLD}; echo done")
    _start_and_kill_runner(commands_dir, mode, one, slot / "f")
    stop = StopToken()
    threading.Timer(0.1, lambda: stop.stop(Superseded())).start()
    with pytest.raises(Superseded):
        runner.attach(one, stop)
    assert processes_of(one.command_id)
    tell(slot)
    assert runner.attach(one, StopToken()).output == "done\n"


def test_a_command_that_never_started_never_will(runner: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, "touch started")
    assert runner.attach(one, StopToken()).status == "interrupted"
    assert runner.run(one, StopToken()).status == "interrupted"
    runner.forget(one.command_id)
    assert runner.run(one, StopToken()).status == "interrupted", "its outcome is recorded, but a starter may be late"
    assert runner.attach(one, StopToken()).status == "interrupted"
    assert not (slot / "started").exists()


def test_a_late_keeper_does_not_start_what_recovery_declared_dead(
    plain: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    # a request whose runner died before the supervisor read its line: taken from a command that ran
    first = spec(slot, "echo x >> count")
    plain.run(first, StopToken())
    request = json.loads((commands_dir / first.command_id / "request.json").read_bytes())
    late = spec(slot, "echo x >> count")
    place = commands_dir / late.command_id
    place.mkdir()
    (place / "request.json").write_text(json.dumps(request | {"command_id": late.command_id}))

    assert plain.attach(late, StopToken()).status == "interrupted"
    link = SupervisorLink(commands_dir)
    try:
        assert link.submit(late.command_id).wait(10)
    finally:
        link.close()
    assert (slot / "count").read_text() == "x\n"
    assert not (place / "result").exists()


def test_a_late_keeper_of_a_forgotten_command_starts_nothing(
    plain: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    one = spec(slot, "echo x >> count")
    plain.attach(one, StopToken())
    plain.forget(one.command_id)
    link = SupervisorLink(commands_dir)
    try:
        assert link.submit(one.command_id).wait(10)
    finally:
        link.close()
    assert not (slot / "count").exists()


def test_recovery_and_a_keeper_race_for_the_claim(plain: SupervisedCommands, slot: Path) -> None:
    outcomes: dict[str, list[CommandResult]] = {"run": [], "attach": []}

    def race(one: CommandSpec) -> None:
        start = threading.Barrier(4)

        def go(how: str) -> None:
            start.wait()
            # the keeper needs about a millisecond to its claim: attach at moments around that
            if how == "attach":
                time.sleep(0.0005 * (hash(one.command_id) % 8))
            outcomes[how].append(getattr(plain, how)(one, StopToken()))

        threads = [threading.Thread(target=go, args=(how,)) for how in ("run", "attach", "attach", "attach")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    started = 0
    for number in range(40):
        one = spec(slot, f"echo x >> count-{number}; echo done")
        race(one)
        results = [outcomes[how].pop() for how in ("run", "attach", "attach", "attach")]
        if (slot / f"count-{number}").exists():
            started += 1
            assert (slot / f"count-{number}").read_text() == "x\n"
            assert {(result.status, result.output) for result in results} == {("exited", "done\n")}
        else:
            assert {result.status for result in results[1:]} == {"interrupted"}
            assert results[0].status in ("interrupted", "stopped")
    time.sleep(0.2)
    assert len(list(slot.iterdir())) == started


@pytest.mark.parametrize("how", ["run", "attach"])
def test_who_waits_for_a_command_that_another_process_settled_is_superseded(
    plain: SupervisedCommands, slot: Path, commands_dir: Path, how: str
) -> None:
    one = spec(slot, "touch ready; sleep 300")
    if how == "attach":
        _leave_running(plain, one, slot / "ready")
    raised: list[BaseException] = []
    stop = _WatchedToken()

    def wait() -> None:
        try:
            getattr(plain, how)(one, stop)
        except Superseded as signal:
            raised.append(signal)

    thread = threading.Thread(target=wait)
    thread.start()
    # before it looks at the command, and then again and again while it waits
    wait_until(lambda: stop.looks > 2 and (slot / "ready").exists())
    # stopped meanwhile, so that it sees what another process did only when all is done
    (commands_dir / one.command_id).rename(commands_dir.parent / "settled")
    thread.join(20)
    assert len(raised) == 1
    assert not (commands_dir / one.command_id).exists(), "it left no claim behind"
    os.kill(keeper_pid(commands_dir.parent, "settled"), signal.SIGTERM)


@pytest.mark.parametrize("supervisor_too", [False, True], ids=["keeper", "keeper and supervisor"])
def test_a_killed_keeper_leaves_nothing_behind(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, supervisor_too: bool
) -> None:
    one = spec(slot, "echo partly; (setsid sleep 301 &); sleep 302 & touch ready; sleep 303; echo no")
    results: list[CommandResult] = []
    thread = threading.Thread(target=lambda: results.append(runner.run(one, StopToken())))
    thread.start()
    wait_until((slot / "ready").exists)
    if supervisor_too:
        supervisor = runner.supervisor_pid()
        assert supervisor is not None
        os.kill(supervisor, signal.SIGKILL)
    os.kill(keeper_pid(commands_dir, one.command_id), signal.SIGKILL)
    thread.join()
    assert [(result.status, result.exit_code, result.output) for result in results] == [
        ("interrupted", None, "partly\n")
    ]
    assert processes_of(one.command_id) == []
    assert runner.attach(one, StopToken()).status == "interrupted"


def test_a_supervisor_kills_what_a_killed_keeper_left_even_without_environment(
    plain: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    seconds = f"5{time.time_ns() % 10**9:09d}"
    one = spec(
        slot, f"(env -i /usr/bin/env setsid sleep {seconds} >/dev/null 2>&1 &); sleep 0.1; touch ready; sleep 300"
    )
    thread = threading.Thread(target=lambda: plain.run(one, StopToken()))
    thread.start()
    wait_until((slot / "ready").exists)
    assert processes_called(f"sleep\0{seconds}")
    os.kill(keeper_pid(commands_dir, one.command_id), signal.SIGKILL)
    thread.join()
    wait_until(lambda: not processes_called(f"sleep\0{seconds}"), seconds=5)


def test_everything_killed_at_once_is_found_by_the_next_runner(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, mode: Mode
) -> None:
    one = spec(slot, "(setsid sleep 301 &); touch ready; sleep 303")
    process = runner_process(commands_dir, mode, one)
    wait_until((slot / "ready").exists)
    for pid in processes_called(f"{commands_dir}\0"):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    result = runner.attach(one, StopToken())
    assert result.status == "interrupted"
    assert processes_of(one.command_id) == []


def test_a_stopped_keeper_does_not_hold_up_a_stop_for_ever(slot: Path, commands_dir: Path) -> None:
    one = spec(slot, "touch ready; sleep 300")
    stop = StopToken()
    stop.stop(Interrupted())
    with SupervisedCommands(commands_dir, sandbox="off", patience=timedelta(seconds=0.5)) as runner:
        _leave_running(runner, one, slot / "ready")
        os.kill(keeper_pid(commands_dir, one.command_id), signal.SIGSTOP)
        assert runner.attach(one, stop).status == "stopped"
    assert processes_of(one.command_id) == []


@pytest.mark.parametrize("with_result", [False, True], ids=["no result", "a result"])
def test_a_command_of_an_earlier_boot_is_interrupted(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, with_result: bool
) -> None:
    one = spec(slot, "echo done")
    runner.run(one, StopToken())
    place = commands_dir / one.command_id
    for name in ("claim", "result"):
        content = json.loads((place / name).read_bytes()[:ENDING_BYTES])
        content.get("process", content)["boot_id"] = "00000000-0000-0000-0000-000000000000"
        (place / name).write_text(json.dumps(content))
    if not with_result:
        (place / "result").unlink()
    assert runner.attach(one, StopToken()).status == "interrupted"
    assert runner.run(one, StopToken()).status == "interrupted"


def test_a_reused_pid_is_not_taken_for_the_keeper(plain: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    one = spec(slot, "echo done")
    plain.run(one, StopToken())
    place = commands_dir / one.command_id
    (place / "result").unlink()
    content = json.loads((place / "claim").read_bytes())
    # the pid lives (it is ours) but another process had it then
    content["process"]["pid"] = os.getpid()
    (place / "claim").write_text(json.dumps(content))
    began = time.monotonic()
    assert plain.attach(one, StopToken()).status == "interrupted"
    assert time.monotonic() - began < 5


def test_reap_kills_a_runs_commands_and_forgets_their_files(
    runner: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    running = spec(slot, "touch ready-1; sleep 300")
    kept = spec(slot, f"touch ready-2; {UNTIL_TOLD}; echo kept")
    other = spec(slot, f"touch ready-3; {UNTIL_TOLD}; echo other", run_id="run-2")
    ended = spec(slot, "echo ended")
    for number, one in enumerate((running, kept, other), start=1):
        _leave_running(runner, one, slot / f"ready-{number}")
    runner.run(ended, StopToken())
    assert runner.reap("run-1", keep=[kept.command_id]) == 1
    assert processes_of(running.command_id) == []
    assert {path.name for path in commands_dir.iterdir() if not path.name.startswith(".")} == {
        kept.command_id,
        other.command_id,
    }
    tell(slot)
    assert runner.attach(kept, StopToken()).output == "kept\n"
    assert runner.attach(other, StopToken()).output == "other\n"
    assert runner.reap("run-1") == 0
    assert runner.reap("run-of-nobody") == 0


def test_reap_kills_what_a_lost_keeper_left(plain: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    one = spec(slot, "(setsid sleep 301 &); touch ready; sleep 302")
    process = runner_process(commands_dir, "off", one)
    wait_until((slot / "ready").exists)
    for pid in processes_called(f"{commands_dir}\0"):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: processes_of(one.command_id))
    # even if somebody removed its folder
    (commands_dir / one.command_id).rename(commands_dir.parent / "elsewhere")
    assert plain.reap("run-1") == 1
    assert processes_of(one.command_id) == []


class _WatchedToken(StopToken):
    """Counts how often it was looked at."""

    looks = 0

    @property
    def signal(self) -> StopSignal | None:
        self.looks += 1
        return super().signal


def _start_and_kill_runner(
    commands_dir: Path, mode: Mode, one: CommandSpec, sign: Path, *, whole_group: bool = False
) -> None:
    process = runner_process(commands_dir, mode, one, own_group=True)
    wait_until(sign.exists)
    if whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    output, _ = process.communicate()
    assert output == b"", "the runner was too fast to be killed in the middle"


def _leave_running(runner: SupervisedCommands, one: CommandSpec, sign: Path) -> None:
    stop = StopToken()

    def supersede() -> None:
        wait_until(sign.exists)
        stop.stop(Superseded())

    thread = threading.Thread(target=supersede)
    thread.start()
    with pytest.raises(Superseded):
        runner.run(one, stop)
    thread.join()
