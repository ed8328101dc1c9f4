"""What commands can do under Landlock and seccomp, besides not getting out."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.gitguard import KEPT_FILE, GitGuard, put_back
from necrocode.commands.limits import CommandLimits
from necrocode.commands.link import SupervisorLink
from necrocode.commands.request import HOME, TEMPORARY, Requests
from necrocode.commands.sandbox import probe
from necrocode.demo.stage import git
from necrocode.engine.stop import StopToken
from tests.necrocode.commands.conftest import working
from tests.necrocode.commands.driving import folder, spec, wait_until
from tests.necrocode.commands.scene import Scene


@pytest.fixture
def commands(commands_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedCommands]:
    working("landlock")
    monkeypatch.setenv("PATH", f"{sys.base_prefix}/bin:{os.environ['PATH']}")
    with SupervisedCommands(commands_dir, sandbox="landlock") as commands:
        yield commands


def output(commands: SupervisedCommands, slot: Path, command: str) -> str:
    return commands.run(spec(slot, command), StopToken()).output


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("touch f; chmod 640 f; stat -c %a f", "640\n"),
        ("touch f; cd ..; chmod 600 slot/f; stat -c %a slot/f", "600\n"),
        ("touch f; ln -s f l; chmod 600 l; stat -c %a f", "600\n"),
        ("touch f; python3 -c 'import os; os.fchmod(os.open(\"f\", os.O_RDONLY), 0o604)'; stat -c %a f", "604\n"),
        ("touch -d '2001-02-03 04:05:06 UTC' f; stat -c %Y f", "981173106\n"),
        ("touch -d @5 f; touch -a f; stat -c %Y f", "5\n"),
        ("touch -d @5 f; exec 3<f; touch -d @7 /proc/self/fd/3; stat -c %Y f", "7\n"),
        (
            'python3 -c \'import os; open("f", "w"); os.utime("f", ns=(5, 123456789))\'; stat -c %y f | cut -c21-29',
            "123456789\n",
        ),
        ("touch -d @5 f; cp -p f g; mkdir d; mv g d; tar -cf t d; rm -r d; tar -xf t; stat -c %Y d/g", "5\n"),
        ("ln -s nowhere l; touch -h -d @9 l; stat -c %Y l", "9\n"),
        ("touch f; chown $(id -u):$(id -g) f && echo mine", "mine\n"),
        ("chmod 600 nothing 2>/dev/null || echo none", "none\n"),
        ("f=$(mktemp) && echo x > $f && chmod 600 $f && cat $f && cd && touch there && ls", "x\nthere\n"),
        ("python3 -c 'import threading as t; x = t.Thread(target=print, args=(1,)); x.start(); x.join()'", "1\n"),
        ("sleep 30 & kill $!; wait $!; echo $?", "143\n"),
        ("(echo a; echo b) | sort -r | head -1; cat <(echo sub)", "b\nsub\n"),
    ],
)
def test_what_programs_do_with_their_own_files_works(
    commands: SupervisedCommands, slot: Path, command: str, said: str
) -> None:
    assert output(commands, slot, command) == said


def test_a_login_beside_a_tool_is_not_readable_and_the_tool_is(
    commands_dir: Path, tmp_path: Path, slot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working("landlock")
    tool = tmp_path / "user/.tool"
    (tool / "bin").mkdir(parents=True)
    (tool / "lib").mkdir()
    (tool / "bin/hello").write_text("#!/bin/sh\necho hello\n")
    (tool / "bin/hello").chmod(0o755)
    (tool / "credentials").write_text("token = secret")
    (tool.parent / "diary").write_text("dear diary")
    monkeypatch.setenv("HOME", str(tool.parent))
    monkeypatch.setenv("PATH", f"{tool}/bin:{os.environ['PATH']}")
    with SupervisedCommands(commands_dir, sandbox="landlock") as commands:
        assert output(commands, slot, "hello") == "hello\n"
        seen = output(commands, slot, f"cat {tool}/credentials {tool.parent}/diary; ls {tool.parent}")
    assert "secret" not in seen and "dear" not in seen
    assert seen.count("Permission denied") == 3


def test_what_a_slot_needs_besides_itself_is_readable_and_no_more(
    commands_dir: Path, tmp_path: Path, slot: Path
) -> None:
    working("landlock")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "object").write_text("an object")
    with SupervisedCommands(commands_dir, sandbox="landlock", read_only_paths=lambda _slot: [cache]) as commands:
        assert output(commands, slot, f"cat {cache}/object; echo x 2>/dev/null > {cache}/object").startswith(
            "an object"
        )
    assert (cache / "object").read_text() == "an object"


def test_root_keeps_no_capability(commands: SupervisedCommands, slot: Path) -> None:
    found = output(
        commands, slot, "grep -h 'Cap[IPEBA]' /proc/self/status | cut -f2 | sort -u; grep NoNew /proc/self/status"
    )
    assert found.endswith("NoNewPrivs:\t1\n")
    if os.geteuid() == 0:
        assert found.splitlines()[0] == "0" * 16 and len(found.splitlines()) == 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("kill -9 {decoy}; kill -STOP {decoy}; kill -9 $PPID; echo on", "on"),
        ("sleep 30 & kill -9 $!; wait $!; echo $?", "137"),
        ("python3 -c 'import os, signal; signal.pidfd_send_signal(os.pidfd_open({decoy}), 9)'; echo on", "on"),
        ("python3 -c 'import os; os.abort()' 2>/dev/null; echo $?", "134"),
        ("setsid sleep 30 & sleep 0.1; kill -9 -- -$!; wait $!; echo $?", "137"),
    ],
)
def test_signals_stay_inside_where_landlock_is_too_old_to_see_to_it(
    commands_dir: Path, slot: Path, command: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    working("landlock")
    monkeypatch.setenv("PATH", f"{sys.base_prefix}/bin:{os.environ['PATH']}")
    with SupervisedCommands(commands_dir) as commands:  # makes the folder
        scene = Scene(slot.parent, commands_dir, commands)
        with scene.decoy() as (decoy, _, _):
            one = spec(slot, command.format(decoy=decoy.pid), timeout=10)
            requests = Requests(
                commands_dir,
                "a-scope",
                limits=CommandLimits(),
                mask=lambda text: text,
                secret_names=(),
                hidden=[commands_dir.parent],
                read_only_paths=lambda _slot: (),
            )
            place = folder(commands_dir, one.command_id)
            request = requests.of(one, place, probe("landlock"))
            assert isinstance(request, dict)
            place.write_request(request | {"scoped": False}, folders=(HOME, TEMPORARY))
            link = SupervisorLink(commands_dir)
            assert link.submit(place.path.name).wait(15)
            link.close()
            assert decoy.poll() is None
            assert Path(f"/proc/{decoy.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    ending = place.ending()
    assert ending is not None
    assert (ending.head + ending.tail).decode().splitlines()[-1] == said


def test_git_is_put_back_though_the_keeper_was_killed(commands_dir: Path, slot: Path) -> None:
    working("landlock")
    git(slot, "init", "--quiet")
    before = (slot / ".git/config").read_bytes()
    with SupervisedCommands(commands_dir, sandbox="landlock") as commands:
        one = spec(slot, "git config core.fsmonitor evil && touch done && sleep 60")
        done = []

        waiting = threading.Thread(target=lambda: done.append(commands.run(one, StopToken())))
        waiting.start()
        wait_until((slot / "done").exists)
        claim = folder(commands_dir, one.command_id).claim()
        assert claim is not None
        os.kill(claim.process.pid, 9)
        waiting.join(20)
    assert [result.status for result in done] == ["interrupted"]
    assert (slot / ".git/config").read_bytes() == before


def test_the_guard_of_git_follows_no_link(tmp_path: Path) -> None:
    slot, treasure = tmp_path / "slot", tmp_path / "treasure"
    slot.mkdir()
    treasure.mkdir()
    (treasure / "keep").write_text("keep")
    git(slot, "init", "--quiet")
    (slot / ".git/hooks").mkdir(exist_ok=True)
    (slot / ".git/hooks/pre-commit").write_text("#!/bin/sh\n")
    guard = GitGuard([f"{slot}/.git"], str(tmp_path))
    guard.keep()
    for path in (slot / ".git/hooks").iterdir():
        path.unlink()
    (slot / ".git/hooks").rmdir()
    (slot / ".git/hooks").symlink_to(treasure)
    guard.put_back()
    assert sorted(path.name for path in treasure.iterdir()) == ["keep"]
    assert (slot / ".git/hooks").is_dir() and not (slot / ".git/hooks").is_symlink()
    assert (slot / ".git/hooks/pre-commit").read_text() == "#!/bin/sh\n"
    assert not (tmp_path / KEPT_FILE).exists()
    put_back(str(tmp_path / KEPT_FILE))  # once is enough
