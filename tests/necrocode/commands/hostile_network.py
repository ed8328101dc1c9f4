"""What hostile commands do with the network: run as ``hostile.py`` is, and standard library only, too."""

from __future__ import annotations

# pathlib would double the start-up of most attacks
# ruff: noqa: PTH104, PTH123
import contextlib
import ctypes
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)


def tcp(port: str) -> bool:
    socket.create_connection(("127.0.0.1", int(port)), timeout=2).close()
    return True


def through(port: str, *targets: str) -> bool:
    """Have a proxy connect to any of ``targets``: one's ``own``, or whose port is given."""
    place = int(os.environ["HTTP_PROXY"].rpartition(":")[2] if port == "own" else port)
    said = []
    for target in targets:
        for request in (f"CONNECT {target} HTTP/1.1\r\n\r\n", f"GET http://{target}/ HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", place), timeout=2) as proxy:
                proxy.sendall(request.encode())
                said.append(proxy.recv(4096).decode())
    return any(" 200 " in answer.partition("\n")[0] for answer in said)


def fast_open(port: str) -> bool:
    """MSG_FASTOPEN: a connection without connect(2)."""
    with socket.socket() as client:
        client.sendto(b"x", 0x20000000, ("127.0.0.1", int(port)))
    return True


def multipath(port: str) -> bool:
    """MPTCP, which is TCP on the wire."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as client:
        client.connect(("127.0.0.1", int(port)))
    return True


def raced(port: str) -> bool:
    """Name the proxy, and put another address in its place while the call is looked at."""
    proxy, target = (
        socket.AF_INET.to_bytes(2, sys.byteorder) + number.to_bytes(2, "big") + b"\x7f\0\0\1" + bytes(8)
        for number in (int(os.environ["HTTP_PROXY"].rpartition(":")[2]), int(port))
    )
    shared, end = mmap.mmap(-1, 4096), time.monotonic() + 0.5
    if os.fork() == 0:
        while time.monotonic() < end:
            shared[:16] = target
            shared[:16] = proxy
        os._exit(0)
    address = ctypes.c_char.from_buffer(shared)
    while time.monotonic() < end:
        with socket.socket() as client, contextlib.suppress(OSError):
            LIBC.connect(client.fileno(), ctypes.byref(address), 16)
            if client.getpeername()[1] == int(port):
                return True
        time.sleep(0.001)  # faster than they are taken, connections wait for a second
    return False


def routed() -> bool:
    """Options by which a connection to the proxy's address would go by way of another machine, or device."""
    allowed = 0
    for level, option, value in ((0, 4, b"\x83\x07\x04\x7f\0\0\1\0"), (1, 25, b"lo")):
        with socket.socket() as client, contextlib.suppress(OSError):
            client.setsockopt(level, option, value)
            allowed += 1
    return allowed > 0


def be_reached() -> bool:
    """Wait for somebody from outside."""
    with socket.socket() as server:
        server.listen()  # at any port: nothing is bound
        with open("draft", "w") as draft:
            draft.write(str(server.getsockname()[1]))
        os.rename("draft", "port")
        server.settimeout(0.4)
        server.accept()
    return True


def udp(port: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        with contextlib.suppress(OSError):
            sender.setsockopt(socket.IPPROTO_IP, 11, 1)  # that nobody is there comes back as an error
        sender.sendto(b"x", ("127.0.0.1", int(port)))
        sender.settimeout(1)
        return sender.recv(1) == b"y"


def unix(path: str) -> bool:
    """``@name`` is an abstract one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path.replace("@", "\0"))
    return True


def vsock() -> bool:
    """What leads from a virtual machine to its host, whatever the network namespace."""
    socket.socket(getattr(socket, "AF_VSOCK", 40), socket.SOCK_STREAM).close()
    return True


ATTACKS: dict[str, Callable[..., bool]] = {
    function.__name__: function
    for function in (tcp, udp, unix, vsock, through, fast_open, multipath, raced, routed, be_reached)
}

if __name__ == "__main__":
    if ATTACKS[sys.argv[1]](*sys.argv[2:]):
        sys.stdout.write("ESCAPED\n")
