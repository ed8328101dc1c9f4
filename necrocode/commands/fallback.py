"""The fallback where bubblewrap does not work: Landlock and seccomp, and the places that one command reaches."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from necrocode.commands import landlock, seccomp
from necrocode.commands.processes import PR_SET_NO_NEW_PRIVS, prctl
from necrocode.commands.toolroots import SYSTEM_FOLDERS, credential_files, etc_paths, tool_roots
from necrocode.states.ports import CommandSpec

_DEVICES = ("null", "zero", "full", "random", "urandom")
_PROBE_SECONDS = 10.0


@lru_cache(maxsize=1)
def probe_landlock() -> tuple[bool, str]:
    """Confine a thread as a command is, and look whether that holds and whether a program still starts; and why so."""
    version = landlock.abi()
    if version < landlock.MIN_ABI:
        known = f"Landlock {version} is too old (Linux 6.2 has {landlock.MIN_ABI})" if version else "no Landlock"
        return False, f"{known} in this kernel"
    problem = ["it was not tried"]

    def attempt() -> None:
        try:
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            landlock.restrict(_system(), network=False)
            seccomp.install(seccomp.confining(namespaces=False, network=False))
            problem[0] = _what_it_lets_pass()
        except (OSError, subprocess.TimeoutExpired) as error:
            problem[0] = str(error)

    # what a thread does to itself ends with it
    thread = threading.Thread(target=attempt, name="necrocode-sandbox")
    thread.start()
    thread.join()
    if problem[0]:
        return False, f"Landlock {version} and seccomp do not work here: {problem[0]}"
    return True, f"Landlock {version} and seccomp work, without a loopback network where there is no network"


def _what_it_lets_pass() -> str:
    """Run in a confined thread; empty if all is well."""
    done = subprocess.run(
        ["/bin/sh", "-c", ":"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PROBE_SECONDS,
        check=False,
        env={},
        cwd="/",
    )
    if done.returncode != 0:
        return done.stderr.decode("utf-8", "replace").strip()[:500] or f"exit code {done.returncode}"
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    except PermissionError:
        try:
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        except PermissionError:
            return ""
        return "a socket could be made"
    return "a folder could be opened"


class LandlockPlaces:
    """What commands reach. Parameters as :class:`~necrocode.commands.bubblewrap.Bubblewrap`'s."""

    def __init__(
        self,
        *,
        source: Mapping[str, str],
        hidden: Sequence[Path],
        read_only_paths: Callable[[Path], Sequence[Path]],
    ) -> None:
        self._read_only_paths = read_only_paths
        self._fixed = _system()
        real_home = Path(os.path.normpath(source.get("HOME") or Path("~").expanduser()))
        roots = tool_roots(source, real_home, hidden)
        logins = set(credential_files(roots))
        for root in roots:
            if not any(path.parent == root for path in logins):
                self._fixed.append(("read", str(root)))
                continue
            # no rule takes back what another gives: the root's parts are named, but for the logins
            self._fixed.append(("list", str(root)))
            self._fixed += [("read", str(path)) for path in sorted(root.iterdir()) if path not in logins]

    def of(self, spec: CommandSpec, own: Sequence[Path]) -> list[tuple[str, str]]:
        """Rights and paths for one command; ``own`` are its private folders."""
        places = list(self._fixed)
        places += [("read", os.path.realpath(path)) for path in self._read_only_paths(Path(spec.slot_path))]
        if spec.network is True:
            places.append(("read", "/etc/resolv.conf"))
        return places + [("write", path) for path in self.writable(spec, own)]

    @staticmethod
    def writable(spec: CommandSpec, own: Sequence[Path]) -> list[str]:
        """The real paths of the folders that a command may write in."""
        return [os.path.realpath(path) for path in (spec.slot_path, *own)]


def _system() -> list[tuple[str, str]]:
    places = [("read", name) for name in (*SYSTEM_FOLDERS, *etc_paths(), "/etc/hosts", "/proc")]
    return places + [("device", f"/dev/{name}") for name in _DEVICES]
