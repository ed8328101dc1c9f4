"""What a command finds in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.environment import search_path
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandSpec
from tests.necrocode.commands.conftest import Mode
from tests.necrocode.commands.driving import ROOT, spec


def environment(runner: SupervisedCommands, one: CommandSpec) -> dict[str, str]:
    output = runner.run(one, StopToken()).output
    return dict(line.split("=", 1) for line in output.splitlines())


def test_nothing_of_the_runners_environment_is_passed_on_unasked(
    runner: SupervisedCommands, slot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_API_KEY", "sk-very-secret-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-too")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    found = environment(runner, spec(slot, "env"))
    assert not found.keys() & {"LLM_API_KEY", "AWS_SECRET_ACCESS_KEY", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"}
    assert not any("secret" in value for value in found.values())
    assert found["CI"] == "1"
    assert found["TERM"] == "dumb"
    assert found["GIT_TERMINAL_PROMPT"] == "0"
    assert found["PAGER"] == "cat"
    assert found["PATH"] == search_path(os.environ)


def test_no_process_that_serves_a_command_carries_a_secret(slot: Path, commands_dir: Path, mode: Mode) -> None:
    # supervisor, keeper, bubblewrap and command as /proc shows them while the command runs
    secret = "sk-0123456789-very-secret"
    script = (
        "import sys; from pathlib import Path; from tests.necrocode.commands.runner_process import main;"
        "main(*sys.argv[1:])"
    )
    one = spec(
        slot,
        "touch ready; for i in $(seq 200); do [ -e seen ] && break; sleep 0.02; done",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(commands_dir), mode, one.command_id, "run-1", str(slot), one.command],
        cwd=ROOT,
        env={**os.environ, "LLM_API_KEY": secret},
        stdout=subprocess.DEVNULL,
    )
    try:
        while not (slot / "ready").exists():
            assert process.poll() is None
        carriers = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and secret.encode() in (entry / "environ").read_bytes():
                    carriers.append(int(entry.name))
            except OSError:
                continue
        assert carriers == [process.pid]
        files = [path for path in commands_dir.rglob("*") if path.is_file()]
        assert files
        assert not any(secret.encode() in path.read_bytes() for path in files)
    finally:
        (slot / "seen").touch()
        process.wait()


def test_given_and_passed_variables_arrive(
    runner: SupervisedCommands, slot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_RUNNER", "passed on")
    monkeypatch.delenv("NOT_SET", raising=False)
    one = spec(slot, "env", env={"GIVEN": "a value = with signs", "CI": "0"}, pass_env=["FROM_RUNNER", "NOT_SET"])
    found = environment(runner, one)
    assert found["FROM_RUNNER"] == "passed on"
    assert found["GIVEN"] == "a value = with signs"
    assert found["CI"] == "0"
    assert "NOT_SET" not in found


def test_a_loaded_credential_is_never_passed_on(
    commands_dir: Path, slot: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BY_NAME", "named-as-secret")
    monkeypatch.setenv("BY_VALUE", "https://user:hunter2hunter2@host/")
    with SupervisedCommands(
        commands_dir,
        sandbox=mode,
        secret_names=["BY_NAME"],
        mask=lambda text: text.replace("hunter2hunter2", "***"),
    ) as runner:
        one = spec(slot, "env", env={"COPIED": "hunter2hunter2"}, pass_env=["BY_NAME", "BY_VALUE"])
        assert not environment(runner, one).keys() & {"BY_NAME", "BY_VALUE", "COPIED"}


def test_the_home_is_private_empty_and_writable(runner: SupervisedCommands, slot: Path) -> None:
    first = runner.run(spec(slot, 'cd && touch mine && ls -A && [ "$PWD" != "$1" ]'), StopToken())
    assert first.exit_code == 0
    assert "mine" in first.output.split()
    second = runner.run(spec(slot, "cd && ls -A"), StopToken())
    assert "mine" not in second.output.split()
    assert not list(slot.iterdir())


def test_git_works(runner: SupervisedCommands, slot: Path) -> None:
    command = "git init -q . && git -c user.name=n -c user.email=e commit -q --allow-empty -m m && git log --format=%s"
    assert runner.run(spec(slot, command), StopToken()).output == "m\n"


def test_bash_is_the_shell(runner: SupervisedCommands, slot: Path) -> None:
    result = runner.run(spec(slot, 'a=(1 2); echo "${#a[@]} $SHELL"'), StopToken())
    assert result.output.startswith("2 /")
    assert result.output.endswith("/bash\n")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a:/b:/a", "/a:/b"),
        (".:bin:/a::./x", "/a"),
        ("", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ],
)
def test_only_absolute_folders_stay_on_the_search_path(path: str, expected: str) -> None:
    assert search_path({"PATH": path}) == expected
