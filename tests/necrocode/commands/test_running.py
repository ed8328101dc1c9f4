"""One command from its start to its end, the runner alive."""

from __future__ import annotations

import os
import stat
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.files import ENDING_BYTES
from necrocode.commands.folder import runs_with_commands
from necrocode.commands.processes import descendants, process_start
from necrocode.engine.errors import Interrupted, StopSignal, StopTriggered, Superseded
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandResult, CommandSpec
from tests.necrocode.commands.driving import (
    UNTIL_TOLD,
    folder,
    keeper_pid,
    processes_called,
    processes_of,
    spec,
    tell,
    wait_until,
)


def test_output_and_exit_code_come_back(runner: SupervisedCommands, slot: Path) -> None:
    result = runner.run(spec(slot, "echo out; echo err >&2; pwd; exit 3"), StopToken())
    assert (result.status, result.exit_code) == ("exited", 3)
    assert result.output == f"out\nerr\n{slot}\n"
    assert result.omitted_bytes == 0
    assert timedelta(0) < result.duration < timedelta(seconds=20)
    assert result.sandbox == runner.sandbox_report().kind


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("exit 255", 255), ("no-such-command-anywhere", 127), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_exit_codes(runner: SupervisedCommands, slot: Path, command: str, code: int) -> None:
    result = runner.run(spec(slot, command), StopToken())
    assert (result.status, result.exit_code) == ("exited", code)


def test_standard_input_is_closed(runner: SupervisedCommands, slot: Path) -> None:
    result = runner.run(spec(slot, "cat; echo ended $?", timeout=10), StopToken())
    assert result.output == "ended 0\n"


def test_broken_pipes_end_the_writer_as_in_a_shell(runner: SupervisedCommands, slot: Path) -> None:
    result = runner.run(spec(slot, "yes | head -1; echo ${PIPESTATUS[0]}"), StopToken())
    assert result.output == "y\n141\n"


def test_the_working_directory_is_in_the_slot(runner: SupervisedCommands, slot: Path) -> None:
    (slot / "sub").mkdir()
    assert runner.run(spec(slot, "pwd", cwd="sub"), StopToken()).output == f"{slot}/sub\n"


@pytest.mark.parametrize("cwd", ["missing", "..", "/etc", "link"])
def test_a_working_directory_that_is_missing_or_outside_is_not_started(
    runner: SupervisedCommands, slot: Path, cwd: str
) -> None:
    (slot / "link").symlink_to("/etc")
    result = runner.run(spec(slot, "touch started", cwd=cwd), StopToken())
    assert (result.status, result.exit_code) == ("not_started", None)
    assert cwd in result.output
    assert not (slot / "started").exists()


def test_a_missing_slot_is_not_started(runner: SupervisedCommands, tmp_path: Path) -> None:
    result = runner.run(spec(tmp_path / "gone", "true"), StopToken())
    assert result.status == "not_started"
    assert "gone" in result.output


@pytest.mark.parametrize("command", ["echo \0", "true " + "x" * 3_000_000])
def test_a_command_that_cannot_be_executed_is_not_started(runner: SupervisedCommands, slot: Path, command: str) -> None:
    result = runner.run(spec(slot, command), StopToken())
    assert (result.status, result.exit_code) == ("not_started", None)
    assert result.output


def test_the_umask_is_the_runners(runner: SupervisedCommands, slot: Path) -> None:
    runner.run(spec(slot, "touch file"), StopToken())
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE((slot / "file").stat().st_mode) == 0o666 & ~umask


def test_a_timeout_kills_grandchildren(runner: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, "echo begun; (sleep 301 & sleep 302) & sleep 303; echo not reached", timeout=2)
    began = time.monotonic()
    result = runner.run(one, StopToken())
    assert (result.status, result.exit_code, result.output) == ("timeout", None, "begun\n")
    assert 2 <= time.monotonic() - began < 20
    assert processes_of(one.command_id) == []


def test_a_command_that_ignores_signals_times_out(runner: SupervisedCommands, slot: Path) -> None:
    result = runner.run(spec(slot, "trap '' TERM INT HUP; while :; do sleep 0.1; done", timeout=0.3), StopToken())
    assert result.status == "timeout"


@pytest.mark.parametrize(
    "daemon",
    [
        "sleep {n} &",
        "( setsid sleep {n} & )",
        "( setsid setsid nohup sleep {n} >/dev/null 2>&1 </dev/null & )",
        "( env -i /usr/bin/env setsid sleep {n} >/dev/null 2>&1 & )",
        "for i in 1 2 3 4 5; do ( setsid bash -c 'for j in 1 2 3; do sleep {n} & done; wait' & ) ; done",
    ],
)
def test_daemons_are_gone_afterwards(runner: SupervisedCommands, slot: Path, daemon: str) -> None:
    # a duration that no other test sleeps, so that even a process without environment can be recognised
    seconds = f"4{uuid.uuid4().int % 10**9:09d}"
    one = spec(slot, daemon.format(n=seconds) + "\necho started")
    result = runner.run(one, StopToken())
    assert (result.status, result.output) == ("exited", "started\n")
    assert processes_of(one.command_id) == []
    assert processes_called(f"sleep\0{seconds}") == []


def test_a_storm_of_forks_is_over_with_the_timeout(runner: SupervisedCommands, slot: Path) -> None:
    storm = "storm() { while :; do ( setsid sleep 301 & ) ; done; }; storm & storm & wait"
    one = spec(slot, storm, timeout=0.3)
    assert runner.run(one, StopToken()).status == "timeout"
    assert processes_of(one.command_id) == []


def test_a_group_kill_in_the_command_does_not_reach_its_keeper(runner: SupervisedCommands, slot: Path) -> None:
    result = runner.run(spec(slot, "echo before; kill -9 0"), StopToken())
    assert (result.status, result.exit_code, result.output) == ("exited", 137, "before\n")


def test_a_hundred_megabytes_are_capped_and_counted(runner: SupervisedCommands, slot: Path) -> None:
    total = 100 * 1024 * 1024
    one = spec(slot, f"echo first; yes 0123456789abcde | head -c {total}; echo last", max_output_bytes=20_000)
    result = runner.run(one, StopToken())
    assert result.status == "exited"
    assert result.omitted_bytes == total + len("first\n") + len("last\n") - 20_000
    assert result.output.startswith("first\n0123456789abcde\n")
    assert result.output.endswith("0123456789abcde\nlast\n")
    assert f"… {result.omitted_bytes:,} bytes left out …" in result.output
    assert len(result.output) < 21_000


def test_output_on_disk_is_bounded_too(plain: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    one = spec(slot, "head -c 5000000 /dev/zero", max_output_bytes=10_000)
    plain.run(one, StopToken())
    assert (commands_dir / one.command_id / "result").stat().st_size == ENDING_BYTES + 10_000


def test_a_command_whose_output_is_closed_runs_on(runner: SupervisedCommands, slot: Path) -> None:
    result = runner.run(spec(slot, "exec >&- 2>&-; sleep 0.2; exit 4"), StopToken())
    assert (result.exit_code, result.output) == (4, "")


def test_known_secrets_are_masked(commands_dir: Path, slot: Path) -> None:
    with SupervisedCommands(commands_dir, sandbox="off", mask=lambda text: text.replace("hunter2hunter2", "***")) as it:
        assert it.run(spec(slot, "echo =hunter2hunter2="), StopToken()).output == "=***=\n"


def test_a_stop_kills_the_command(runner: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, "echo begun; (setsid sleep 301 &) ; touch ready; sleep 302")
    result = _stopped_at(slot / "ready", Interrupted(), runner, one)
    assert (result.status, result.exit_code, result.output) == ("stopped", None, "begun\n")
    assert processes_of(one.command_id) == []


def test_a_deadline_kills_the_command(runner: SupervisedCommands, slot: Path) -> None:
    stop = StopToken()
    stop.expire_after(timedelta(seconds=0.4), StopTriggered("deadline", "too late", stop_reason="deadline"))
    assert runner.run(spec(slot, "sleep 300"), stop).status == "stopped"


def test_a_stop_before_the_start_starts_nothing(runner: SupervisedCommands, slot: Path) -> None:
    stop = StopToken()
    stop.stop(Interrupted())
    result = runner.run(spec(slot, "touch started"), stop)
    assert result.status == "stopped"
    time.sleep(0.1)
    assert not (slot / "started").exists()


def test_superseded_before_the_start_starts_nothing(runner: SupervisedCommands, slot: Path) -> None:
    stop = StopToken()
    stop.stop(Superseded())
    with pytest.raises(Superseded):
        runner.run(spec(slot, "touch started"), stop)
    with pytest.raises(Superseded):
        runner.attach(spec(slot, "touch started"), stop)
    assert not (slot / "started").exists()


def test_superseded_leaves_the_command_alone(runner: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, f"touch ready; {UNTIL_TOLD}; echo done; touch finished")
    with pytest.raises(Superseded):
        _stopped_at(slot / "ready", Superseded(), runner, one)
    assert processes_of(one.command_id)
    assert not (slot / "finished").exists()
    tell(slot)
    assert runner.attach(one, StopToken()).output == "done\n"
    assert (slot / "finished").exists()


def test_an_id_is_never_started_twice(runner: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, "echo x >> count; cat count")
    first = runner.run(one, StopToken())
    assert runner.run(one, StopToken()) == first
    assert (slot / "count").read_text() == "x\n"


def test_many_threads_with_one_id_start_it_once(runner: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, "echo x >> count; sleep 0.3; echo done")
    results: list[CommandResult] = []
    threads = [threading.Thread(target=lambda: results.append(runner.run(one, StopToken()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (slot / "count").read_text() == "x\n"
    assert {result.output for result in results} == {"done\n"}
    assert len(results) == 8


def test_many_commands_run_at_once(runner: SupervisedCommands, slot: Path) -> None:
    results: dict[int, str] = {}

    def run(number: int) -> None:
        results[number] = runner.run(spec(slot, f"sleep 0.2; echo {number}"), StopToken()).output

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: f"{number}\n" for number in range(12)}


@pytest.mark.parametrize("command_id", ["a/../../b", "ключ 1", ".hidden", "x" * 500, "run-1:3:bash"])
def test_any_id_makes_a_safe_folder(plain: SupervisedCommands, slot: Path, commands_dir: Path, command_id: str) -> None:
    one = spec(slot, "echo $NECROCODE_COMMAND_ID", command_id=command_id)
    assert plain.run(one, StopToken()).output == f"{command_id}\n"
    made = [path for path in commands_dir.iterdir() if not path.name.startswith(".")]
    assert len(made) == 1
    assert len(made[0].name) <= 100
    plain.forget(command_id)
    assert not made[0].exists()


def test_runs_that_have_commands_on_disk_are_listed(plain: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    for run_id in ("run-2", "run-1", "run-2"):
        plain.run(spec(slot, "true", run_id=run_id), StopToken())
    assert runs_with_commands(commands_dir) == ["run-1", "run-2"]
    plain.reap("run-2")
    assert runs_with_commands(commands_dir) == ["run-1"]
    assert runs_with_commands(commands_dir / "nowhere") == []


def test_forget_removes_what_an_ended_command_left(plain: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    one = spec(slot, "mkdir -p ~/cache/a; touch ~/cache/a/b; chmod 0555 ~/cache/a; chmod 0 ~/cache")
    assert plain.run(one, StopToken()).exit_code == 0
    plain.forget(one.command_id)
    assert [path.name for path in commands_dir.iterdir()] == []
    plain.forget(one.command_id)


def test_forget_leaves_a_running_command_alone(plain: SupervisedCommands, slot: Path) -> None:
    one = spec(slot, f"touch ready; {UNTIL_TOLD}; echo done")
    thread = threading.Thread(target=lambda: plain.run(one, StopToken()))
    thread.start()
    wait_until((slot / "ready").exists)
    plain.forget(one.command_id)
    tell(slot)
    assert plain.attach(one, StopToken()).output == "done\n"
    thread.join()


def test_what_is_kept_on_disk_is_for_its_owner_only(plain: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    one = spec(slot, "echo hello", env={"QUIET": "please"})
    plain.run(one, StopToken())
    place = commands_dir / one.command_id
    assert stat.S_IMODE(commands_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir() if path.is_file()}
    assert modes.keys() >= {"request.json", "claim", "result"}
    assert set(modes.values()) == {0o600}


def test_a_lost_supervisor_is_replaced(runner: SupervisedCommands, slot: Path) -> None:
    assert runner.run(spec(slot, "echo one"), StopToken()).output == "one\n"
    first = runner.supervisor_pid()
    assert first is not None
    os.kill(first, 9)
    assert runner.run(spec(slot, "echo two"), StopToken()).output == "two\n"
    assert runner.supervisor_pid() not in (None, first)


@pytest.mark.parametrize("which", ["the keeper", "the child that it has"])
def test_who_waits_for_the_next_command_and_is_killed_is_replaced(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, which: str
) -> None:
    one = spec(slot, "echo one")
    assert runner.run(one, StopToken()).output == "one\n"
    wait_until(lambda: process_start(keeper_pid(commands_dir, one.command_id)) is None)
    supervisor = runner.supervisor_pid()
    assert supervisor is not None
    wait_until(lambda: len(descendants(supervisor)) >= 2)
    keeper, child, *_ = descendants(supervisor)
    os.kill(keeper if which == "the keeper" else child, 9)
    wait_until(lambda: process_start(child) is None)
    assert runner.run(spec(slot, "echo two"), StopToken()).output == "two\n"
    assert runner.supervisor_pid() == supervisor


def test_who_waits_for_the_next_command_ends_with_the_supervisor(
    plain: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    assert plain.run(spec(slot, "echo one"), StopToken()).output == "one\n"
    supervisor = plain.supervisor_pid()
    assert supervisor is not None
    wait_until(lambda: len(descendants(supervisor)) == 2)
    os.kill(supervisor, 9)
    wait_until(lambda: not processes_called(str(commands_dir)))


def test_a_running_command_survives_its_supervisor(runner: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    one = spec(slot, f"echo x >> count; touch ready; {UNTIL_TOLD}; echo done")
    results: list[CommandResult] = []
    thread = threading.Thread(target=lambda: results.append(runner.run(one, StopToken())))
    thread.start()
    wait_until((slot / "ready").exists)
    supervisor = runner.supervisor_pid()
    assert supervisor is not None
    assert supervisor != keeper_pid(commands_dir, one.command_id)
    os.kill(supervisor, 9)
    assert runner.run(spec(slot, "echo meanwhile"), StopToken()).output == "meanwhile\n"
    tell(slot)
    thread.join()
    assert [result.output for result in results] == ["done\n"]
    assert (slot / "count").read_text() == "x\n"


def test_a_keeper_that_is_told_to_end_kills_its_command(
    runner: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    one = spec(slot, "echo begun; touch ready; sleep 300")
    results: list[CommandResult] = []
    thread = threading.Thread(target=lambda: results.append(runner.run(one, StopToken())))
    thread.start()
    wait_until((slot / "ready").exists)
    os.kill(keeper_pid(commands_dir, one.command_id), 15)
    thread.join()
    assert [(result.status, result.output) for result in results] == [("interrupted", "begun\n")]
    assert processes_of(one.command_id) == []


def test_a_keeper_in_another_pid_namespace_is_stopped_by_a_file(
    plain: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    one = spec(slot, "touch ready; sleep 300")
    results: list[CommandResult] = []
    thread = threading.Thread(target=lambda: results.append(plain.run(one, StopToken())))
    thread.start()
    wait_until((slot / "ready").exists)
    (folder(commands_dir, one.command_id).path / "stop").touch()
    thread.join()
    assert [result.status for result in results] == ["stopped"]


def test_closing_ends_the_supervisor(plain: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    plain.warm()
    pid = plain.supervisor_pid()
    assert pid is not None
    plain.close()
    wait_until(lambda: not processes_called(str(commands_dir)))
    assert plain.run(spec(slot, "echo again"), StopToken()).output == "again\n"


def _stopped_at(sign: Path, signal: StopSignal, runner: SupervisedCommands, one: CommandSpec) -> CommandResult:
    """Run ``one`` and send ``signal`` once the file ``sign`` is there."""
    stop = StopToken()

    def send() -> None:
        wait_until(sign.exists)
        stop.stop(signal)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return runner.run(one, stop)
    finally:
        thread.join()
