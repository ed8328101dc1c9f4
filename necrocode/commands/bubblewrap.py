"""Bubblewrap, found out by running it, and the options with which it confines one command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from necrocode.commands import seccomp
from necrocode.commands.environment import search_path
from necrocode.commands.processes import PR_SET_NO_NEW_PRIVS, prctl
from necrocode.commands.toolroots import SYSTEM_FOLDERS, credential_files, etc_paths, tool_roots
from necrocode.states.ports import CommandSpec

HOSTNAME = "necrocode"
#: What a sandbox without network reads as /etc/hosts.
LOOPBACK_HOSTS = f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost ip6-localhost ip6-loopback\n"
#: Where the home is in the sandbox when the real one's path can't be used.
_SPARE_HOME = "/tmp/home"

#: Of all memory, what one of the folders that are gone with the command may take: one part in so many.
_SHARE_OF_MEMORY = 8
_PROBE_SECONDS = 10.0
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_SET_BY_SHELLS = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "OLDPWD", "PPID", "PWD", "SHELLOPTS", "UID"})
"""Those that bash, where that is /bin/sh, lets nobody set, and those that going to a folder sets."""
_MOUNTS = ("--bind", "--ro-bind", "--ro-bind-try")


@lru_cache(maxsize=1)
def probe_bubblewrap() -> tuple[str | None, str]:
    """Run bubblewrap once, really, with all that a command gets: its path, None if it is of no use; and why so."""
    executable = shutil.which("bwrap", path=search_path(os.environ))
    if executable is None:
        return None, "bubblewrap (the command bwrap) is not installed"
    try:
        done = _unprivileged(lambda: _tried(executable))
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{executable} cannot be run: {error}"
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        return None, f"{executable} does not work here: {words[:500]}"
    limited = "" if seccomp.gate_known() else ", but on Linux before 5.5 without a limit of processes"
    return executable, f"{executable} works{limited}"


def _tried(executable: str) -> subprocess.CompletedProcess[bytes]:
    with tempfile.TemporaryFile() as calls:
        calls.write(seccomp.confining(namespaces=True, network=False))
        calls.seek(0)
        argv = [
            executable,
            *("--seccomp", str(calls.fileno())),
            *_namespaces(network=False),
            *_system(executable, [option for name in etc_paths() for option in _read_only(name)]),
            *("--clearenv", "--remount-ro", "/", "--", "/bin/sh", "-c", ":"),
        ]
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
            env={},
            pass_fds=[calls.fileno()],
        )


def _unprivileged(attempt: Callable[[], subprocess.CompletedProcess[bytes]]) -> subprocess.CompletedProcess[bytes]:
    """Run ``attempt`` as commands run: with no_new_privs, under which a set-user-ID bubblewrap is none."""

    def limited() -> subprocess.CompletedProcess[bytes]:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        return attempt()

    # what a thread gives up, only it has given up
    with ThreadPoolExecutor(1, "necrocode-sandbox") as pool:
        return pool.submit(limited).result()


@lru_cache(maxsize=1)
def _takes_sizes(executable: str) -> bool:
    """Whether its folders in memory can be given a size (bubblewrap 0.5)."""
    done = subprocess.run([executable, "--help"], capture_output=True, timeout=_PROBE_SECONDS, check=False, env={})
    return b"--size" in done.stdout + done.stderr


class Bubblewrap:
    """Builds bubblewrap's options for commands.

    ``source`` is the runner's environment, ``hidden`` what no tool may uncover (necrocode's home), ``read_only_paths``
    gives what a slot needs readable besides itself, ``empty_file`` is read in the place of tools' logins, ``etc`` as
    /etc, with the file ``hosts`` for where there is no network.
    """

    def __init__(
        self,
        executable: str,
        *,
        source: Mapping[str, str],
        hidden: Sequence[Path],
        read_only_paths: Callable[[Path], Sequence[Path]],
        empty_file: Path,
        etc: Path,
    ) -> None:
        self.executable = executable
        self._read_only_paths = read_only_paths
        real_home = Path(os.path.normpath(source.get("HOME") or Path("~").expanduser()))
        usable = real_home.is_absolute() and not _is_system_path(real_home)
        #: HOME inside: where it is outside, so that tools with its path in them work; empty but for the tools' folders.
        self.home = str(real_home) if usable else _SPARE_HOME
        self._system = [*_system(executable, ["--ro-bind", str(etc), "/etc"]), *_memory(executable, self.home)]
        roots = tool_roots(source, real_home, hidden)
        for root in roots:
            self._system += ["--ro-bind-try", str(root), str(root)]
        for path in credential_files(roots):
            self._system += ["--ro-bind", str(empty_file), str(path)]

    def start(self, spec: CommandSpec) -> dict[str, Any]:
        """What starts a sandbox in which a shell waits for its :func:`script`.

        The same for two commands of which one can have the sandbox that was set up for the other: also what is mounted
        is the same then, and not another that has its name by now.
        """
        options = self._options(spec)
        return {
            "argv": [self.executable, "/bin/sh", "-c", ". /dev/stdin"],
            "bwrap_options": options,
            "mounted": [_identity(source) for name, source in pairwise(options) if name in _MOUNTS],
            # bubblewrap runs outside of what it confines: the command's environment (LD_PRELOAD, say) is not for it
            "env": {},
            "cwd": "/",
        }

    def _options(self, spec: CommandSpec) -> list[str]:
        """Everything between ``bwrap`` and ``--``."""
        slot = Path(os.path.normpath(spec.slot_path))
        real_slot = Path(os.path.realpath(slot))
        options = [*_namespaces(network=spec.network is True), *self._system, *self._network(spec.network is True)]
        for place in dict.fromkeys((slot, real_slot)):
            options += ["--bind", str(real_slot), str(place)]
            if _is_plain(real_slot / ".git"):
                options += ["--ro-bind", str(real_slot / ".git"), str(place / ".git")]
        for path in self._read_only_paths(slot):
            real = os.path.realpath(path)
            for name in dict.fromkeys((os.path.normpath(path), real)):
                options += ["--ro-bind-try", real, name]
        return [*options, "--remount-ro", "/", "--chdir", "/", "--clearenv"]

    def _network(self, network: bool) -> list[str]:
        if not network:
            return ["--hostname", HOSTNAME]
        # often a link into /run, which isn't there
        return ["--ro-bind-try", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf", *_read_only("/etc/hosts")]


def script(argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> str:
    """What the shell that waits in a sandbox is to do: become the command ``argv`` in ``folder``, with exactly this
    environment and nothing to read.

    A piece of it, of a keeper that was killed as it told it, is none that a shell would carry out.
    """
    if all(_NAME.fullmatch(name) and name not in _SET_BY_SHELLS for name in environment):
        pairs = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        # the shell itself sets OLDPWD by going there
        become = f"unset OLDPWD\nexport {pairs}\nexec"
    else:
        # a program more, which takes its time
        pairs = shlex.join(f"{name}={value}" for name, value in environment.items())
        become = f"exec /usr/bin/env -i {pairs}"
    return f"{{\ncd -- {shlex.quote(str(folder))} || exit 126\n{become} {shlex.join(argv)} </dev/null\n}}\n"


def _identity(path: str) -> list[int]:
    """What ``path`` is, as long as somebody holds it; empty if it is nothing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a dozen for each command, and a Path takes longer than the look
    except OSError:
        return []
    return [status.st_dev, status.st_ino]


def _namespaces(*, network: bool) -> list[str]:
    options = ["--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if not network:
        options.append("--unshare-net")
    return [*options, "--new-session", "--die-with-parent", "--cap-drop", "ALL"]


def _system(executable: str, etc: Sequence[str]) -> list[str]:
    """The system's folders, read-only, ``etc`` of them, and fresh /proc, /dev and /tmp."""
    options: list[str] = []
    for name in SYSTEM_FOLDERS:
        folder = Path(name)
        if folder.is_symlink():
            options += ["--symlink", str(folder.readlink()), name]
        elif folder.is_dir():
            options += ["--ro-bind", name, name]
    options += [*etc, "--proc", "/proc", "--dev", "/dev", *_memory(executable, "/tmp")]
    options += [*_memory(executable, "/var/tmp"), "--dir", "/run"]
    if os.geteuid() == 0:
        # root without any capability still owns /proc/sys: kernel.core_pattern runs a program as root outside
        options += ["--remount-ro", "/proc"]
    return options


def _memory(executable: str, name: str) -> list[str]:
    """A folder in memory, of a size that leaves the machine some."""
    if not _takes_sizes(executable):
        return ["--tmpfs", name]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return ["--size", str(total // _SHARE_OF_MEMORY), "--tmpfs", name]


def _read_only(name: str) -> list[str]:
    return ["--ro-bind-try", name, name]


def _is_plain(path: Path) -> bool:
    """Whether it is a real folder or file: bubblewrap would follow a link that a model left in its place."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


def _is_system_path(path: Path) -> bool:
    tops = (*SYSTEM_FOLDERS, "/etc", "/proc", "/sys", "/dev")
    return str(path) in ("/", "/tmp", "/var/tmp") or any(path.is_relative_to(top) for top in tops)
