"""The proxy of one command: HTTP's CONNECT, and plain HTTP by whole addresses, to the listed hosts only.

Standard library only: a keeper forks it. It is a process of its own (see :mod:`necrocode.commands.egress`).
"""

from __future__ import annotations

import re
import socket
import threading
import time

from necrocode.commands.hosts import Hosts, address, split

#: Connections at once; further ones are closed.
CONNECTIONS = 128
_HEAD_BYTES = 65_536
_HEAD_SECONDS = 60.0
_CONNECT_SECONDS = 30.0
_REFUSING_SECONDS = 2.0
_BYTES = 65_536
_OWN_HEADERS = ("connection", "proxy-connection", "proxy-authorization", "keep-alive", "host")
_REQUEST = re.compile(r"([A-Z]+) (\S+) HTTP/1\.[01]")
_WHOLE = re.compile(r"http://([^/?#@\s]+)(/?[^#\s]*)[^\s]*", re.IGNORECASE)


class Refused(Exception):
    """It is not to be: a status of HTTP, and one line that says why."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def serve(listener: socket.socket, hosts: Hosts) -> None:
    """Answer whoever connects to ``listener``, a thread each, until it is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            if listener.fileno() < 0:
                return
            time.sleep(0.05)  # out of descriptors, say: connections end
            continue
        if threading.active_count() > 2 * CONNECTIONS:
            client.close()
            continue
        threading.Thread(target=_answer, args=(client, hosts), daemon=True).start()


def _answer(client: socket.socket, hosts: Hosts) -> None:
    with client:
        try:
            client.settimeout(_HEAD_SECONDS)
            head, rest = _head(client)
            server, first = _reached(head, hosts)
            with server:
                if not first:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pass_on(client, server, first + rest)
        except Refused as refusal:
            line = str(refusal).encode("ascii", "replace")
            head_of_it = b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n" % (refusal.status, line)
            _refuse(client, head_of_it + b"Content-Length: %d\r\nConnection: close\r\n\r\n%s\n" % (len(line) + 1, line))
        except OSError:
            return  # one of the two is gone: the other one sees it


def _refuse(client: socket.socket, words: bytes) -> None:
    try:
        client.sendall(words)
        client.shutdown(socket.SHUT_WR)
        # hung up on while it still speaks, it would not hear them
        until = time.monotonic() + _REFUSING_SECONDS
        while client.recv(_BYTES) and time.monotonic() < until:
            client.settimeout(_REFUSING_SECONDS)
    except OSError:
        return  # it does not want to know


def _head(client: socket.socket) -> tuple[str, bytes]:
    """The head of a request, without its last line end, and what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(_BYTES)
        if not more or len(data) > _HEAD_BYTES:
            raise Refused(400, "necrocode's proxy did not understand this request")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _reached(head: str, hosts: Hosts) -> tuple[socket.socket, bytes]:
    """A connection to whom ``head`` asks for, and what is to be said there first: nothing for CONNECT."""
    line, *headers = head.split("\r\n")
    request = _REQUEST.fullmatch(line)
    if request is None:
        raise Refused(400, "necrocode's proxy did not understand this request")
    method, target = request.groups()
    if method == "CONNECT":
        return _connected(target, 443, hosts), b""
    whole = _WHOLE.fullmatch(target)
    if whole is None:
        raise Refused(400, "necrocode's proxy takes CONNECT, and http:// with the whole address")
    authority, path = whole.groups()
    server = _connected(authority, 80, hosts)
    # one request a connection: a further one could be meant for another host
    kept = [header for header in headers if header.partition(":")[0].strip().lower() not in _OWN_HEADERS]
    path = path if path.startswith("/") else f"/{path}"
    lines = [f"{method} {path} HTTP/1.1", f"Host: {authority}", *kept, "Connection: close"]
    return server, "\r\n".join([*lines, "", ""]).encode("latin-1")


def _connected(authority: str, usual_port: int, hosts: Hosts) -> socket.socket:
    try:
        host, given = split(authority)
    except ValueError:
        raise Refused(400, "necrocode's proxy did not understand this request") from None
    port = usual_port if given is None else given
    if not hosts.lets(host, port):
        raise Refused(403, f"{host[:253]}:{port} is not on the list of hosts that commands may reach (network)")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(502, f"{host[:253]} has no address: {error}") from None
    places = [str(one[4][0]) for one in found]
    if address(host) is None:
        # what it is connected to is what was looked at: the name is not asked for again
        places = [place for place in places if hosts.lets_lead(place, port)]
        if not places:
            inside = f"{found[0][4][0]}:{port}"
            raise Refused(403, f"{host[:253]} leads to {inside}, which is inside and not listed itself (network)")
    why = ""
    for place in dict.fromkeys(places):
        try:
            return socket.create_connection((place, port), timeout=_CONNECT_SECONDS)
        except OSError as error:
            why = str(error)
    raise Refused(502, f"{host[:253]}:{port} cannot be reached: {why}")


def _pass_on(client: socket.socket, server: socket.socket, said: bytes) -> None:
    """``said`` to the server, and then what either says, until both are silent for good."""
    for one in (client, server):
        one.settimeout(None)
    back = threading.Thread(target=_copy, args=(server, client), daemon=True)
    back.start()
    _copy(client, server, said)
    back.join()


def _copy(source: socket.socket, target: socket.socket, said: bytes = b"") -> None:
    try:
        data = said or source.recv(_BYTES)
        while data and _hears(target, data):
            data = source.recv(_BYTES)
    except OSError:
        for one in (source, target):
            _shut(one, socket.SHUT_RDWR)
        return
    if data:
        # It hears no more, but what it said before that is still on its way to the other one.
        _shut(source, socket.SHUT_RD)
    else:
        _shut(target, socket.SHUT_WR)


def _hears(one: socket.socket, data: bytes) -> bool:
    try:
        one.sendall(data)
    except OSError:
        return False
    return True


def _shut(one: socket.socket, how: int) -> None:
    try:
        one.shutdown(how)
    except OSError:
        return  # it is shut already
