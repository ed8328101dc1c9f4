"""What the sandbox keeps from a command, and what it must not."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.sandbox import forget_probes, probe
from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandResult
from tests.necrocode.commands.driving import spec

needs_bubblewrap = pytest.mark.skipif(probe("bubblewrap").kind == "none", reason=probe("bubblewrap").why)


@pytest.fixture
def user_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with something to hide."""
    home = tmp_path / "user"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_ed25519").write_text("a private key")
    (home / ".netrc").write_text("machine host password secret")
    (home / "diary.txt").write_text("dear diary")
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def confined(commands_dir: Path, user_home: Path) -> Iterator[SupervisedCommands]:
    assert user_home.is_dir()
    with SupervisedCommands(commands_dir, sandbox="bubblewrap") as runner:
        yield runner


def run(runner: SupervisedCommands, slot: Path, command: str, *, network: bool = False) -> CommandResult:
    return runner.run(spec(slot, command, network=network), StopToken())


def test_the_report_says_how_and_why(commands_dir: Path) -> None:
    with SupervisedCommands(commands_dir, sandbox="off") as off, SupervisedCommands(commands_dir) as auto:
        assert off.sandbox_report().kind == probe("off").kind == "none"
        assert "off" in off.sandbox_report().why
        assert auto.sandbox_report() == probe()
        assert probe().why


def test_a_required_sandbox_that_is_missing_is_an_environment_fault(
    commands_dir: Path, slot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_probes()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    try:
        with SupervisedCommands(commands_dir, sandbox="bubblewrap") as runner:
            with pytest.raises(EnvironmentFault, match="bubblewrap") as caught:
                run(runner, slot, "touch started")
            assert caught.value.stop_reason == "sandbox_missing"
            assert runner.sandbox_report().kind == "none"
        with SupervisedCommands(commands_dir, sandbox="auto") as runner:
            assert run(runner, slot, "echo with the next best").sandbox == probe("landlock").kind
    finally:
        forget_probes()
    assert not (slot / "started").exists()


def test_a_bubblewrap_that_does_not_work_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    forget_probes()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        report = probe("bubblewrap")
        assert report.kind == "none"
        assert "No permissions to create new namespace" in report.why
    finally:
        forget_probes()


@needs_bubblewrap
def test_the_slot_is_writable_and_nothing_else_is(confined: SupervisedCommands, slot: Path) -> None:
    assert run(confined, slot, "echo hi > made; cat made").output == "hi\n"
    assert (slot / "made").read_text() == "hi\n"
    for place in ("/", "/usr", "/etc", "/bin", "/proc/sys/kernel"):
        result = run(confined, slot, f"touch {place}/made-outside 2>/dev/null")
        assert result.exit_code != 0, place
    # these are folders of the sandbox's own /tmp and home, which are gone with it
    run(confined, slot, f"touch {slot.parent}/made-outside ~/made-outside")
    assert list((slot.parent / "user").glob("made*")) == []
    assert sorted(path.name for path in slot.parent.iterdir()) == ["home", "slot", "user"]


@needs_bubblewrap
def test_the_home_is_hidden(confined: SupervisedCommands, slot: Path, user_home: Path) -> None:
    result = run(confined, slot, f'[ "$HOME" = {user_home} ] && ls -A ~; cat ~/.netrc {user_home}/.ssh/id_ed25519')
    assert result.exit_code != 0
    assert "key" not in result.output
    assert "password" not in result.output
    assert "diary" not in result.output


@needs_bubblewrap
def test_necrocodes_own_home_is_hidden(confined: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    result = run(confined, slot, f"ls -A {commands_dir.parent} {slot.parent}")
    assert "commands" not in result.output.replace(str(commands_dir.parent), "").replace("No such file", "")
    assert run(confined, slot, f"cat {commands_dir}/*/request.json").exit_code != 0


@needs_bubblewrap
def test_temporary_files_are_private(confined: SupervisedCommands, slot: Path) -> None:
    assert run(confined, slot, 'f=$(mktemp) && echo x > $f && [ "${f%/*}" = /tmp ] && touch /var/tmp/y').exit_code == 0
    assert run(confined, slot, f"ls -A /tmp | grep -v {slot.parts[2]}; ls -A /var/tmp").output == ""


@needs_bubblewrap
def test_other_processes_are_out_of_sight(confined: SupervisedCommands, slot: Path) -> None:
    output = run(confined, slot, f"ls /proc | grep -c '^[0-9]'; kill -0 {os.getpid()} || echo unseen").output
    assert int(output.splitlines()[0]) < 10
    assert output.endswith("unseen\n")


@needs_bubblewrap
def test_the_kernels_settings_are_out_of_reach_even_for_root(confined: SupervisedCommands, slot: Path) -> None:
    # opened for appending, nothing written: a test that fails must not change this machine
    result = run(confined, slot, "( : >> /proc/sys/kernel/core_pattern ) 2>/dev/null")
    assert result.exit_code != 0
    capabilities = run(confined, slot, "grep -h Cap /proc/self/status | cut -f2 | sort -u").output
    assert capabilities == "0000000000000000\n"


@needs_bubblewrap
def test_there_is_no_network_but_a_loopback_of_its_own(confined: SupervisedCommands, slot: Path) -> None:
    with _listener() as port:
        connect = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        assert run(confined, slot, f"( {connect} ) 2>/dev/null").exit_code != 0
        assert run(confined, slot, connect, network=True).exit_code == 0
    (slot / "server.py").write_text(
        "import socket\n"
        "server = socket.create_server(('localhost', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "print('connected')\n"
    )
    interpreter = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}")
    with_path = spec(slot, f"{interpreter} server.py", env={})
    if interpreter.exists() and str(interpreter).startswith("/usr/"):
        assert confined.run(with_path, StopToken()).output == "connected\n"
    assert "localhost" in run(confined, slot, "getent hosts localhost").output


@needs_bubblewrap
def test_git_metadata_is_read_only(confined: SupervisedCommands, slot: Path) -> None:
    (slot / ".git").mkdir()
    (slot / ".git/config").write_text("[core]\n")
    for attack in (
        "echo evil >> .git/config",
        "touch .git/hooks",
        "rm -rf .git",
        "mv .git other",
        "chmod 777 .git",
    ):
        assert run(confined, slot, f"{attack} 2>/dev/null").exit_code != 0, attack
    assert run(confined, slot, "cat .git/config").output == "[core]\n"
    assert (slot / ".git/config").read_text() == "[core]\n"


@needs_bubblewrap
def test_a_link_in_the_place_of_git_metadata_uncovers_nothing(
    confined: SupervisedCommands, slot: Path, user_home: Path
) -> None:
    (slot / ".git").symlink_to(user_home / ".ssh")
    result = run(confined, slot, "cat .git/id_ed25519")
    assert result.exit_code not in (0, None)
    assert "private" not in result.output


@needs_bubblewrap
def test_what_a_slot_needs_besides_itself_is_readable(commands_dir: Path, user_home: Path, slot: Path) -> None:
    cache = user_home / "cache"
    cache.mkdir()
    (cache / "object").write_text("an object")
    with SupervisedCommands(commands_dir, sandbox="bubblewrap", read_only_paths=lambda _slot: [cache]) as runner:
        assert run(runner, slot, f"cat {cache}/object").output == "an object"
        assert run(runner, slot, f"echo x > {cache}/object 2>/dev/null").exit_code != 0
        assert run(runner, slot, f"cat {user_home}/diary.txt 2>/dev/null").exit_code != 0


@needs_bubblewrap
def test_a_slot_under_the_home_works(commands_dir: Path, user_home: Path) -> None:
    slot = user_home / "work" / "slot"
    slot.mkdir(parents=True)
    with SupervisedCommands(commands_dir, sandbox="bubblewrap") as runner:
        assert run(runner, slot, f"touch made; ls -A; ls {user_home}").output == "made\nwork\n"
    assert (slot / "made").exists()


@needs_bubblewrap
def test_a_slot_behind_a_link_works(confined: SupervisedCommands, slot: Path) -> None:
    link = slot.parent / "linked"
    link.symlink_to(slot)
    assert run(confined, link, f"pwd; touch made; cd {slot} && ls").output == f"{link}\nmade\n"


@needs_bubblewrap
def test_tools_of_an_environment_under_the_home_work(
    commands_dir: Path, user_home: Path, slot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # an interpreter as a version manager keeps it, a virtual environment over it, and a tool linked into ~/.local/bin
    manager = user_home / ".versions/py"
    for folder in (manager / "bin", manager / "lib", user_home / ".local/bin", user_home / "project/.venv/bin"):
        folder.mkdir(parents=True)
    (manager / "lib/answer").write_text("42\n")
    (manager / "bin/python-like").write_text(f"#!/bin/sh\ncat {manager}/lib/answer\n")
    (manager / "bin/python-like").chmod(0o755)
    venv = user_home / "project/.venv"
    (venv / "pyvenv.cfg").write_text(f"home = {manager}/bin\n")
    (venv / "bin/py").symlink_to(manager / "bin/python-like")
    (user_home / ".local/bin/tool").symlink_to(venv / "bin/py")
    (manager / "credentials").write_text("token = secret")
    monkeypatch.setenv("PATH", f"{venv}/bin:{user_home}/.local/bin:{os.environ['PATH']}")
    with SupervisedCommands(commands_dir, sandbox="bubblewrap") as runner:
        assert run(runner, slot, "py && tool").output == "42\n42\n"
        assert run(runner, slot, f"cat {manager}/credentials").output == ""
        assert run(runner, slot, f"touch {venv}/made 2>/dev/null").exit_code != 0
        assert run(runner, slot, f"ls {user_home}/diary.txt 2>/dev/null").exit_code != 0


@needs_bubblewrap
def test_this_interpreter_works_when_it_is_on_the_path(
    commands_dir: Path, slot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    name = Path(sys.executable).name
    with SupervisedCommands(commands_dir, sandbox="bubblewrap") as runner:
        output = run(runner, slot, f"{name} -c 'import sys; print(sys.prefix)'").output
    assert output == f"{sys.prefix}\n"


@needs_bubblewrap
def test_a_sandbox_that_cannot_be_set_up_is_not_started(commands_dir: Path, slot: Path) -> None:
    with SupervisedCommands(commands_dir, sandbox="bubblewrap") as runner:
        assert run(runner, slot, "true").exit_code == 0
        shutil.rmtree(commands_dir.with_name(f"{commands_dir.name}-etc"))
        result = run(runner, slot, "touch started")
    assert (result.status, result.exit_code, result.sandbox) == ("not_started", None, "bubblewrap")
    assert "bwrap: " in result.output
    assert not (slot / "started").exists()


@needs_bubblewrap
def test_hostile_variables_reach_the_command_only(confined: SupervisedCommands, slot: Path) -> None:
    # bubblewrap itself runs outside of the sandbox: it must not load what the command's environment names
    result = confined.run(spec(slot, "echo ran", env={"LD_PRELOAD": "/nowhere/evil.so"}), StopToken())
    assert result.exit_code == 0
    assert "ran" in result.output
    assert "bwrap" not in result.output


class _listener:
    """A TCP server on loopback that accepts."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        port: int = self._socket.getsockname()[1]
        return port

    def _accept(self) -> None:
        self._socket.settimeout(0.05)
        self._open = True
        while self._open:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            connection.close()

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._thread.join()
        self._socket.close()
