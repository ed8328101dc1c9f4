"""The escape suite's attacks on a list of hosts: what reaches others than those, and what reaches into the command."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.necrocode.commands.driving import UNTIL_TOLD, tell, wait_until
from tests.necrocode.commands.scene import Scene

NOBODY = ("listed.invalid",)
"""A list of which nothing can be reached."""


@contextmanager
def server() -> Iterator[int]:
    """The port of somebody on this machine who takes connections and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=_hang_up, args=(listening,))
        answering.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            answering.join()


def _hang_up(listening: socket.socket) -> None:
    while True:
        try:
            listening.accept()[0].close()
        except OSError:
            return


def directly(attack: str) -> Callable[[Scene], bool]:
    """By an attack that is given the port of a server which is not listed."""

    def escapes(scene: Scene) -> bool:
        with server() as port:
            return replace(scene, network=NOBODY).hostile(attack, port)

    return escapes


def unlisted(scene: Scene) -> bool:
    """Another port of a listed address, another address, and the listed one in other spellings."""
    with server() as port, server() as other:
        listed = replace(scene, network=(f"127.0.0.1:{other}", "*.invalid:1", f"127.0.0.2:{port}"))
        assert listed.hostile("through", "own", f"127.0.0.1:{other}"), "what is listed is reached"
        spelled = ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0")
        return listed.hostile("through", "own", *(f"{name}:{port}" for name in spelled))


def rebound(scene: Scene) -> bool:
    """A listed name whose owner has it lead to this machine."""
    with server() as port:
        return replace(scene, network=(f"localhost:{port}",)).hostile("through", "own", f"localhost:{port}")


def from_outside(scene: Scene) -> bool:
    """Somebody outside connects to a port that the command waits at."""
    place = scene.slot / "port"
    over = threading.Event()

    def reach() -> None:
        while not over.wait(0.01):
            if place.exists():
                with socket.socket() as client:
                    client.connect_ex(("127.0.0.1", int(place.read_text())))
                return

    reaching = threading.Thread(target=reach)
    reaching.start()
    try:
        return replace(scene, network=NOBODY).hostile("be_reached")
    finally:
        over.set()
        reaching.join()


def by_anothers(scene: Scene) -> bool:
    """Another command may reach a server, and its proxy's port is known."""
    with server() as port:
        other = Scene(scene.root / "other", scene.commands_dir, scene.commands, network=(f"127.0.0.1:{port}",))
        busy = threading.Thread(target=other.run, args=(f"echo $HTTP_PROXY > at; mv at proxy; {UNTIL_TOLD}",))
        busy.start()
        try:
            known: Path = other.slot / "proxy"
            wait_until(known.exists)
            at = known.read_text().strip().rpartition(":")[2]
            return replace(scene, network=NOBODY).hostile("through", at, f"127.0.0.1:{port}")
        finally:
            tell(other.slot)
            busy.join()
