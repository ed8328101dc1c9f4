"""The list of hosts that commands may reach: how it is written, and what it lets through. Standard library only."""

from __future__ import annotations

import ipaddress
import re

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from collections.abc import Iterable

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

USUAL_PORTS = (80, 443)
"""What a host is reached at that is listed without a port."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a translating network writes them."""


def checked(entry: str) -> str:
    """``entry`` as a list holds it: ``host``, ``*.domain`` or an address (IPv6 in brackets), each perhaps ``:port``.

    ``ValueError``: it is none of these, and why.
    """
    entry = entry.strip().lower()
    if "/" in entry or "@" in entry:
        raise ValueError(f"{entry[:100]!r} must be a host such as index.example, not a URL")
    host, port = split(entry)
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"{entry[:100]!r} has a port that is not between 1 and 65535")
    if host == "localhost":
        raise ValueError("'localhost' is whatever a file says: list its address, 127.0.0.1:PORT")
    if address(host) is None and (
        len(host) > 253 or not _NAME.fullmatch(host) or host.rpartition(".")[2].isdigit() or entry.startswith("[")
    ):
        raise ValueError(f"{entry[:100]!r} must be a host, *.domain or an address, and perhaps :PORT")
    return entry


def split(entry: str) -> tuple[str, int | None]:
    """The host, without brackets, and the port, None without one. ``ValueError``: the port is no number."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", entry)
    host, port = (bracketed[1], bracketed[2]) if bracketed else (entry.partition(":")[0], entry.partition(":")[2])
    if not bracketed and not port:
        return entry, None
    if port is not None and not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{entry[:100]!r} has a port that is no number")
    return host, None if port is None else int(port)


def address(text: str) -> Address | None:
    """An IPv4 or IPv6 address in its usual form, None for all else."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


class Hosts:
    """What a list lets through. ``entries`` are :func:`checked` ones."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: set[tuple[str, int]] = set()
        self._addresses: set[tuple[Address, int]] = set()
        for entry in entries:
            host, only = split(entry)
            at = address(host)
            for port in USUAL_PORTS if only is None else (only,):
                if at is None:
                    self._names.add((host, port))
                else:
                    self._addresses.add((at, port))

    def lets(self, host: str, port: int) -> bool:
        """Whether ``host``, a name or an address, may be asked for at ``port``."""
        at = address(host)
        if at is not None:
            return (at, port) in self._addresses
        name = host.lower().removesuffix(".")
        if name.startswith("*") or not _NAME.fullmatch(name):
            return False
        labels = name.split(".")
        wild = ("*." + ".".join(labels[place:]) for place in range(1, len(labels)))
        return any((one, port) in self._names for one in (name, *wild))

    def lets_lead(self, found: str, port: int) -> bool:
        """Whether a listed name may lead to the address ``found``: in the open, or listed itself.

        Whoever owns a listed name decides where it leads: not to this machine or its neighbours.
        """
        at = ipaddress.ip_address(found.partition("%")[0])
        if (at, port) in self._addresses:
            return True
        if isinstance(at, ipaddress.IPv6Address):
            inner = at.ipv4_mapped or at.sixtofour
            if at in _TRANSLATED:
                inner = ipaddress.IPv4Address(int(at) & 0xFFFFFFFF)
            if inner is not None:
                return self.lets_lead(str(inner), port)
        return at.is_global and not at.is_multicast
