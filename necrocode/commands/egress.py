"""A command's way to the listed hosts: starts its proxy, and tells the command where that is.

The proxy is a child of the command's keeper, outside of the sandbox, and dies with it. It listens on the loopback that
the command sees: in bubblewrap's network namespace, which a process of its own enters for a moment; else on the
machine's, where Landlock lets the command connect nowhere, and the gate connects it to this one port (Landlock by
itself would let it connect to that port of any machine). Standard library only.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH208
import _socket
import ctypes
import json
import os
import signal

from necrocode.commands.confine import receive, send_descriptor
from necrocode.commands.processes import PR_SET_PDEATHSIG, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from typing import Any

INNER_PORT = 61_080
"""Where it is in a network namespace: beyond the ports that are given out to others."""

_NAMESPACES = {"user": 0x10000000, "net": 0x40000000}


class Egress:
    """The proxy of one command: forked when it is made, before the command is.

    ``request`` is the keeper's: bubblewrap's options and, without it, the command's environment get what they need.
    ``port`` is where the gate may connect the command to, ``passed`` the descriptors for bubblewrap.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        start: dict[str, Any] = request["start"]
        hosts: list[str] = start["hosts"]
        self.port = 0
        self.passed: list[int] = []
        if start["sandbox"] == "bubblewrap":
            told, tell = os.pipe2(os.O_CLOEXEC)
            wait, go = os.pipe2(os.O_CLOEXEC)
            self.passed, kept = [tell, wait], [told, go]
            start["bwrap_options"] += ["--info-fd", str(tell), "--block-fd", str(wait)]
        else:
            listener = _listening("127.0.0.1", 0)
            self.port = int(listener.getsockname()[1])
            kept = [listener.detach()]
            start["env"] |= variables(self.port, request["direct"])
        keeper = os.getpid()
        if os.fork() == 0:
            try:
                _become(keeper, hosts, kept)
            finally:
                os._exit(1)
        for descriptor in kept:
            os.close(descriptor)


def variables(port: int, direct: str) -> dict[str, str]:
    """What tools read to find a proxy on the loopback; ``direct``: what they reach without it."""
    found = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), f"http://127.0.0.1:{port}")
    found["NO_PROXY"] = direct
    return found | {name.lower(): value for name, value in found.items()}


def _become(keeper: int, hosts: list[str], kept: list[int]) -> None:
    """In the forked child: be the proxy."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if os.getppid() != keeper:
        return
    # the keeper's locks and pipes: others wait for their ends
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # that of the list itself
    if len(kept) == 2:
        kept = [_listener_of_bubblewrap(*kept)]
    import socket

    from necrocode.commands.hosts import Hosts
    from necrocode.commands.proxy import serve

    serve(socket.socket(fileno=kept[0]), Hosts(hosts))


def _listener_of_bubblewrap(told: int, go: int) -> int:
    """Listen in the network namespace that bubblewrap tells of, then let it ``go`` on."""
    with open(told, "rb") as file:
        info = b""
        while b"}" not in info:
            line = file.readline()
            if not line:
                raise OSError("bubblewrap ended")
            info += line
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    if os.fork() == 0:
        try:
            _listen_inside(json.loads(info)["child-pid"], theirs)
        finally:
            os._exit(1)
    theirs.close()
    _, listener = receive(ours)
    ours.close()
    os.wait()
    os.close(go)
    return listener


def _listen_inside(pid: int, end: _socket.socket) -> None:
    """In a process for this alone: enter the namespaces of ``pid``, and send a listener from there through ``end``."""
    libc = ctypes.CDLL(None, use_errno=True)
    places = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), kind) for name, kind in _NAMESPACES.items()]
    # without a user namespace of its own (root) the first is refused and not needed: only the second counts
    refused = [libc.setns(place, kind) for place, kind in places]
    if refused[-1] == 0:
        listener = _listening("0.0.0.0", INNER_PORT)
        send_descriptor(end, listener.fileno())


def _listening(host: str, port: int) -> _socket.socket:
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener
