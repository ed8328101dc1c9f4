"""Listening: sockets of the services, and the servers on them until a signal ends them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from necrocode.engine.errors import EnvironmentFault

GRACE_SECONDS = 30
"""How long requests under way may take to end once the server was asked to."""

_KEEP_ALIVE_SECONDS = 75


class CannotListen(EnvironmentFault):
    """The address cannot be listened on."""

    stop_reason = "cannot_listen"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens, and the application behind it."""

    socket: socket.socket
    app: FastAPI

    @property
    def url(self) -> str:
        """Where it is reached."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``. Raises :class:`CannotListen` for a name nobody knows."""
    return all(
        ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in _resolved(host, 0)
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ``port`` 0: any that is free. Raises :class:`CannotListen`."""
    family, kind, protocol, _, address = _resolved(host, port)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(1024)
    except OSError as error:
        bound.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}; name another with --port") from error
    return bound


def serve(listeners: Sequence[Listener], closing: Callable[[], None]) -> None:
    """Answer on every listener until SIGTERM or SIGINT; then end the requests under way and return.

    ``closing`` is called when the signal comes. A second signal, or :data:`GRACE_SECONDS`, ends them at once.
    """
    asyncio.run(_serve(listeners, closing))


async def _serve(listeners: Sequence[Listener], closing: Callable[[], None]) -> None:
    servers = [
        _Server(
            uvicorn.Config(
                listener.app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        for listener in listeners
    ]

    def stop() -> None:
        closing()
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await asyncio.gather(
        *(server.serve(sockets=[listener.socket]) for server, listener in zip(servers, listeners, strict=True))
    )


class _Server(uvicorn.Server):
    """Leaves signals to us: several of these share a process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _resolved(
    host: str, port: int
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"{host!r} is no address of this machine: {error.strerror}") from error
    return [(family, kind, protocol, name, tuple(address)) for family, kind, protocol, name, address in found]
