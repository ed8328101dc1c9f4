"""What the process of a command does to itself just before it becomes the command: limits, rights, the sandbox.

Standard library only: the supervisor imports it.
"""

from __future__ import annotations

import _socket  # socket itself takes ten times as long to import
import ctypes
import errno
import os
import resource
import struct

from necrocode.commands import landlock, seccomp
from necrocode.commands.processes import PR_SET_NO_NEW_PRIVS, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from typing import Any

_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 24, 28, 47
_CLEAR_ALL = 4
_NO_ROOT_LOCKED = 0b11
_CAPABILITY_VERSION = 0x20080522

_LIMITS = {
    "file_bytes": resource.RLIMIT_FSIZE,
    "memory_bytes": resource.RLIMIT_AS,
    "cpu_seconds": resource.RLIMIT_CPU,
    "open_files": resource.RLIMIT_NOFILE,
    "core_bytes": resource.RLIMIT_CORE,
}


def prepare() -> None:
    """Make the usual filters ahead: those that commands are confined by, but for lists of hosts and of CPUs."""
    if not seccomp.machine_known():
        return
    seccomp.forking()
    for network in (False, True):
        seccomp.confining(namespaces=True, network=network)
        _without_namespaces(network=network, proxied=False, cpus_fixed=False, scoped=True)


def _without_namespaces(*, network: bool, proxied: bool, cpus_fixed: bool, scoped: bool) -> tuple[bytes, bytes]:
    """The filter with a gate, and that without one."""
    gated, alone = (
        seccomp.confining(
            namespaces=False, network=network, proxied=proxied, gate=gate, cpus_fixed=cpus_fixed, scoped=scoped
        )
        for gate in (True, False)
    )
    return gated, alone


def set_limits(limits: dict[str, Any]) -> None:
    """Of each process of the command: sizes in bytes, processor time in seconds; ``cpus`` that it may run on."""
    for name, number in _LIMITS.items():
        wanted = limits.get(name)
        if wanted is not None:
            hard = resource.getrlimit(number)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(number, (value, value))
    cpus = limits.get("cpus")
    if cpus is not None:
        mine = sorted(os.sched_getaffinity(0))
        if cpus < len(mine):
            # each command its own share, as far as chance has it
            first = os.getpid() % len(mine)
            os.sched_setaffinity(0, (mine * 2)[first : first + cpus])


def confine(start: dict[str, Any], end: _socket.socket) -> None:
    """Confine this process as ``start`` says; the gate's descriptor goes to the keeper through ``end``.

    ``OSError``: the kernel refuses.
    """
    set_limits(start["limits"])
    sandbox = start["sandbox"]
    if sandbox == "none":
        return
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if sandbox == "bubblewrap":
        if start["network"]:
            landlock.scope()  # abstract Unix sockets belong to the network, which it shares then
        if seccomp.gate_known():
            _gated(seccomp.forking(), b"", end)
        return
    drop_capabilities()
    network, scoped = start["network"], start["scoped"]
    landlock.restrict(start["landlock"], network=network, scoped=scoped)
    proxied, cpus_fixed = bool(start["hosts"]), "cpus" in start["limits"]
    gated, alone = _without_namespaces(network=network, proxied=proxied, cpus_fixed=cpus_fixed, scoped=scoped)
    _gated(gated, alone, end)


def drop_capabilities() -> None:
    """Root or not, no right beyond a user's own is left, and none comes back."""
    for number in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            # there are no more, or there was no right to begin with: no_new_privs keeps it so
            if error.errno in (errno.EINVAL, errno.EPERM):
                break
            raise
    try:
        prctl(_PR_SET_SECUREBITS, _NO_ROOT_LOCKED)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def send_descriptor(end: _socket.socket, descriptor: int) -> None:
    """Hand a descriptor to the process at the other ``end``."""
    end.sendmsg([b"d"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor))])


def receive(end: _socket.socket, size: int = 1) -> tuple[bytes, int]:
    """What comes next: up to ``size`` bytes, none at the end; or a descriptor that was sent, else -1."""
    part, ancillary, _, _ = end.recvmsg(size, _socket.CMSG_SPACE(4))
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            (descriptor,) = struct.unpack("i", data[:4])
            os.set_inheritable(descriptor, False)
            return b"", int(descriptor)
    return part, -1


class HeldSocket:
    """A descriptor as a socket, closed at the end."""

    def __init__(self, descriptor: int, family: int = _socket.AF_UNIX) -> None:
        self._socket = _socket.socket(family, _socket.SOCK_STREAM, 0, descriptor)

    def __enter__(self) -> _socket.socket:
        return self._socket

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _gated(program: bytes, otherwise: bytes, end: _socket.socket) -> None:
    """Install ``program`` with a listener; ``otherwise`` where a sandbox around us has taken that place."""
    try:
        listener = seccomp.install(program, listener=True)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        if otherwise:
            seccomp.install(otherwise)
        return
    send_descriptor(end, listener)
    os.close(listener)
