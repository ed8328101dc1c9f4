"""The escape suite: what commands try in order to get out, each with what shows that it worked.

Elsewhere: a file tool raced with a swapped link is in ``tests/necrocode/coder/test_beneath.py``, what a model plants
for the runner's own git in ``tests/e2e/test_hostile_model.py``.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from necrocode.commands.processes import machine
from necrocode.demo.stage import git
from tests.necrocode.commands import past_the_proxy
from tests.necrocode.commands.driving import processes_called
from tests.necrocode.commands.scene import HOSTILE, LIMITS, PYTHON, Scene


@dataclass(frozen=True)
class Attack:
    """One way to try it."""

    #: What the README calls it.
    name: str
    #: Whether it got out.
    escapes: Callable[[Scene], bool]
    #: What plain mode does about it: nothing, unless this says so.
    plain_stops: bool = False
    #: The sandboxes in which only a kernel with Landlock's scopes stops it.
    scoped: tuple[str, ...] = ()


# -- keys and processes --


def _vm_read(scene: Scene) -> bool:
    with scene.decoy() as (process, address, _):
        return scene.hostile("vm_read", process.pid, address)


def _steal_descriptor(scene: Scene) -> bool:
    with scene.decoy() as (process, _, descriptor):
        return scene.hostile("steal_descriptor", process.pid, descriptor)


def _kill(scene: Scene) -> bool:
    with scene.decoy() as (process, _, _):
        scene.run(f"kill -9 {process.pid}; kill -STOP {process.pid}")
        time.sleep(0.02)
        return process.poll() is not None


def _kill_keeper(scene: Scene) -> bool:
    return scene.run("kill -9 $PPID; exit 7").exit_code != 7


def _forge(scene: Scene) -> bool:
    shutil.copy(HOSTILE, scene.slot / "hostile.py")
    command = f"{shlex.join(PYTHON)} hostile.py forge {scene.commands_dir} {machine()['boot_id']}; exit 7"
    return scene.run(command).exit_code == 0


def _daemon(scene: Scene) -> bool:
    name = f"daemon-{secrets.token_hex(8)}"
    inner = f"echo up > up; while :; do sleep 0.05; done # {name}"
    done = scene.run(
        f"(env -i setsid sh -c {shlex.quote(inner)} >/dev/null 2>&1 </dev/null &) ; until [ -e up ]; do :; done"
    )
    assert (done.exit_code, (scene.slot / "up").exists()) == (0, True), "there was none to begin with"
    return bool(processes_called(name))


def _shared_memory(scene: Scene) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    key = secrets.randbelow(1 << 30) + 1
    segment = libc.shmget(key, ctypes.c_size_t(4096), 0o1600)
    assert segment >= 0
    try:
        return scene.hostile("shared_memory", key)
    finally:
        libc.shmctl(segment, 0, None)


# -- files --


def _setuid(scene: Scene) -> bool:
    scene.run(
        "cp /bin/true made && chmod 4755 made; chmod u+s made; python3 -ISc 'import os; os.chmod(\"made\", 0o6755)'"
    )
    made = scene.slot / "made"
    assert made.exists()
    return bool(made.stat().st_mode & 0o6000) or scene.hostile("set_id")


@lru_cache(maxsize=1)
def _repository() -> Path:
    """A repository with a submodule ``sub``."""
    keep = tempfile.TemporaryDirectory(prefix="necrocode-escapes-")
    atexit.register(keep.cleanup)
    part, whole = Path(keep.name, "part"), Path(keep.name, "whole")
    bare = ("-c", "init.templateDir=")  # the sample hooks would be most of what is copied
    for folder in (part, whole):
        folder.mkdir()
        git(folder, *bare, "init", "--quiet")
        (folder / "file").write_text("a\n")
        if folder == whole:
            git(whole, *bare, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "sub")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--no-gpg-sign", "-m", "first")
    return whole


def _git(plant: str) -> Callable[[Scene], bool]:
    """Plant something in the slot's repository, then look whether the user's own git runs it."""

    def escapes(scene: Scene) -> bool:
        mark, slot = scene.root / "it-ran", scene.slot
        shutil.copytree(_repository(), slot, symlinks=True, dirs_exist_ok=True)
        # a filter passes its input on; ssh must not wait for any
        evil = f"#!/bin/sh\ntouch {shlex.quote(str(mark))}\n[ $# -gt 0 ] || exec cat\n"
        # whoever confines the command may hide the tools' configuration
        who = "export GIT_CONFIG_NOSYSTEM=1; git() { command git -c safe.directory='*' \"$@\"; }; "
        (slot / "evil").write_text(evil)
        (slot / "evil").chmod(0o755)
        scene.run(f"{who}E=$PWD/evil; {plant}")
        (slot / "file").write_text("b\n")
        words = ["status", "diff", "add file", "submodule status", "commit -qm second --no-gpg-sign", "fetch -q x@y:z"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(scene.root), "GIT_CONFIG_NOSYSTEM": "1"}
        environment |= {"GIT_SSH_COMMAND": "false"} if "ssh" not in plant else {}
        for one in words:
            if mark.exists():
                break
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["git", "-C", slot, "-c", "user.name=n", "-c", "user.email=e", *one.split()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=1,
                )
        return mark.exists()

    return escapes


# -- limits --


def _big_file(scene: Scene) -> bool:
    scene.run("head -c 6000000 /dev/zero > big")
    return (scene.slot / "big").stat().st_size > LIMITS.file_size_mb << 20


def _fill_disk(scene: Scene) -> bool:
    loop = "i=0; while [ $i -lt 300 ]; do head -c 4000000 /dev/zero > f$i; sync f$i; i=$((i+1)); done"
    done = scene.run(loop, timeout=60)
    return "max_disk_mb" not in done.output


def _fork_bomb(scene: Scene) -> bool:
    """Whether more processes than its limit were ever seen of a bomb, or are there after it."""
    name = f"bomb{secrets.token_hex(6)}"
    most, over = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, len(processes_called(name)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        scene.run(f"{name}() {{ {name} | {name} & }}; {name}; sleep 2", timeout=0.6)
    finally:
        over.set()
        watcher.join()
    assert most > 10, "it did not go off"
    # on a busy machine one or the other is let in that could not be counted yet
    return most > LIMITS.processes + 8 or bool(processes_called(name))


# -- the network --


def _listening(
    family: socket.AddressFamily, address: str | tuple[str, int], kind: socket.SocketKind, attack: str
) -> Callable[[Scene], bool]:
    def escapes(scene: Scene) -> bool:
        with ExitStack() as stack:
            server = stack.enter_context(socket.socket(family, kind))
            name = str(scene.root / "outside.socket") if address == "path" else address
            if address == "abstract":
                name = f"\0necrocode-{secrets.token_hex(8)}"
            server.bind(name)
            if kind == socket.SOCK_STREAM:
                server.listen()
            else:
                answering = threading.Thread(target=_answer, args=(server,))
                answering.start()
                stack.callback(answering.join)
                # what was refused is not waited for
                own = stack.enter_context(socket.socket(family, kind))
                stack.callback(own.sendto, b"x", server.getsockname())
            given = name.replace("\0", "@") if isinstance(name, str) else server.getsockname()[1]
            return scene.hostile(attack, given)

    return escapes


def _answer(server: socket.socket) -> None:
    server.settimeout(0.6)
    with suppress(TimeoutError):
        _, sender = server.recvfrom(1)
        server.sendto(b"y", sender)


def _hostile(attack: str, *arguments: object) -> Callable[[Scene], bool]:
    return lambda scene: scene.hostile(attack, *arguments)


def _hunt(attack: str) -> Callable[[Scene], bool]:
    return lambda scene: scene.hunt(attack)


def _outside(command: str) -> Callable[[Scene], bool]:
    return lambda scene: scene.changes_outside(command)


def _with_network(escapes: Callable[[Scene], bool]) -> Callable[[Scene], bool]:
    return lambda scene: escapes(replace(scene, network=True))


def _with_hosts(escapes: Callable[[Scene], bool]) -> Callable[[Scene], bool]:
    return lambda scene: escapes(replace(scene, network=past_the_proxy.NOBODY))


MULTIPATH = "connect past the proxy by multipath TCP"
"""Which not every kernel has."""
OTHER_CALLS = "system calls of the 32-bit kind"
"""On x86 only."""
_OUT = "../outside"
_INET, _UNIX, _STREAM = socket.AF_INET, socket.AF_UNIX, socket.SOCK_STREAM
_ABSTRACT = _listening(socket.AF_UNIX, "abstract", socket.SOCK_STREAM, "unix")
_EVERY_HOOK = "for h in post-index-change pre-commit post-commit reference-transaction; do cp $E .git/hooks/$h; done"
_NESTED = "git init -q && git config core.fsmonitor $E && git commit -q --allow-empty -m x; cd .."
_WHO = "git config --global user.name n; git config --global user.email e"

GROUPS = {
    "keys and processes": (
        Attack("read the key in the runner's environment", _hunt("environment")),
        Attack("read the key in the runner's memory", _hunt("memory")),
        Attack("read the key by process_vm_readv", _vm_read),
        Attack("ptrace the runner", _hunt("ptrace")),
        Attack("take a descriptor of the runner's", _steal_descriptor),
        Attack("kill the runner", _kill),
        Attack("lower the runner's limits", _hunt("strangle")),
        Attack("kill the command's keeper", _kill_keeper),
        Attack("forge the command's result file", _forge),
        Attack("leave a process behind", _daemon, plain_stops=True),
        Attack("reach shared memory of other processes", _shared_memory),
        Attack("write into the user's keyring", _hostile("keyring")),
        Attack("make namespaces and mount", _hostile("namespaces")),
    ),
    "files": (
        Attack("write a file outside", _outside(f"echo x > {_OUT}/file; echo x >> {_OUT}/new; mkdir {_OUT}/made")),
        Attack("delete or rename outside", _outside(f"rm -rf {_OUT}/file; mv {_OUT}/folder {_OUT}/other; mv {_OUT} .")),
        Attack("empty a file outside", _outside(f"truncate -s 0 {_OUT}/file")),
        Attack("write through a symbolic link", _outside(f"ln -s {_OUT}/file link && echo x > link")),
        Attack("write through a hard link", _outside(f"ln {_OUT}/file link && echo x > link")),
        Attack("change a mode outside", _outside(f"chmod 777 {_OUT}/file; chmod 700 {_OUT}/folder; chmod 700 {_OUT}")),
        Attack(
            "change a mode outside through a link",
            _outside(f"ln -s {_OUT} link; chmod 777 link/file; chmod 700 link/folder"),
        ),
        Attack("change times outside", _outside(f"touch -d 2001-01-01 {_OUT}/file; touch {_OUT}/folder")),
        Attack("set-user-ID files", _setuid),
    ),
    "git": (
        Attack("git hooks", _git(f"mkdir -p .git/hooks; {_EVERY_HOOK}; chmod +x .git/hooks/*")),
        Attack("git core.fsmonitor", _git("git config core.fsmonitor $E")),
        Attack("git core.sshCommand", _git("git config core.sshCommand $E")),
        Attack(
            "git filters",
            _git(
                "git config filter.e.clean $E; git config diff.e.command $E; echo '* filter=e diff=e' > .gitattributes"
            ),
        ),
        Attack(
            "git: another folder in .git's place",
            _git("mv .git old; git init -q; git config core.fsmonitor $E; git config core.hooksPath $PWD"),
        ),
        Attack(
            "git: a file in .git's place",
            _git("mv .git old; git init -q --separate-git-dir=g; git config core.fsmonitor $E"),
        ),
        Attack("git: a submodule's configuration", _git("git config -f .git/modules/sub/config core.fsmonitor $E")),
        Attack("git: another folder in a submodule's place", _git(f"mv sub old; {_WHO}; mkdir sub; cd sub; {_NESTED}")),
        Attack(
            "git: a nested repository made a submodule",
            _git(
                f"{_WHO}; mkdir n; cd n; {_NESTED}; "
                "git update-index --add --cacheinfo 160000,$(cd n; git rev-parse HEAD),n"
            ),
        ),
    ),
    "limits": (
        Attack("a fork bomb", _fork_bomb),
        Attack("more processes than the limit", _hostile("forks", 100)),
        Attack("more threads than the limit", _hostile("threads", 100)),
        Attack("a file larger than the limit", _big_file, plain_stops=True),
        Attack("fill the disk", _fill_disk, plain_stops=True),
    ),
    "network": (
        Attack("connect out by TCP", _listening(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_STREAM, "tcp")),
        Attack("send out by UDP", _listening(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM, "udp")),
        Attack("connect to a Unix socket outside", _listening(socket.AF_UNIX, "path", socket.SOCK_STREAM, "unix")),
        Attack("connect to an abstract Unix socket", _ABSTRACT),
        Attack("reach the machine's host by a virtual socket", _hostile("vsock")),
        Attack("io_uring", _hostile("ring")),
        Attack("connect to an abstract Unix socket, with network", _with_network(_ABSTRACT), scoped=("bubblewrap",)),
        Attack(OTHER_CALLS, _hostile("other_calls")),
    ),
    "network, where hosts are listed": (
        Attack("connect past the proxy", past_the_proxy.directly("tcp")),
        Attack("connect past the proxy by fast open", past_the_proxy.directly("fast_open")),
        Attack(MULTIPATH, past_the_proxy.directly("multipath")),
        Attack("swap the address while it is looked at", past_the_proxy.directly("raced")),
        Attack(
            "send past the proxy by UDP", _with_hosts(_listening(_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM, "udp"))
        ),
        Attack("connect to a Unix socket, with hosts", _with_hosts(_listening(_UNIX, "path", _STREAM, "unix"))),
        Attack("be reached from outside", past_the_proxy.from_outside),
        Attack("have another command's proxy connect", past_the_proxy.by_anothers),
        Attack("have the proxy connect to another host", past_the_proxy.unlisted, plain_stops=True),
        Attack("have a listed name lead inside", past_the_proxy.rebound, plain_stops=True),
    ),
}
"""By what they are after."""
ATTACKS = tuple(attack for group in GROUPS.values() for attack in group)


def markdown() -> str:
    """What plain mode cannot stop, as a table."""
    lines = ["| after | what plain mode cannot stop, and a sandbox does |", "| --- | --- |"]
    for group, attacks in GROUPS.items():
        names = "; ".join(attack.name for attack in attacks if not attack.plain_stops)
        lines.append(f"| {group} | {names} |")
    return "\n".join(lines) + "\n"
