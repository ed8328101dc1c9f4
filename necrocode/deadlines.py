"""Deadlines: a call over HTTP ends in time, however slowly the other side speaks or listens."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

SLOWEST = 64 * 1024
"""Bytes a second. A call may take longer than its timeout by what its bytes need at this pace."""

_PIECE = 64 * 1024


class Deadline(threading.local):
    """When the call that this thread makes must be over. Each thread has one of its own."""

    _until = math.inf

    def begin(self, timeout: timedelta) -> None:
        """A call begins, and has so long."""
        self._until = time.monotonic() + timeout.total_seconds()

    def moved(self, size: int) -> None:
        """So many bytes were sent or received."""
        self._until += size / SLOWEST

    def left(self, timeout: float | None, late: type[Exception]) -> float:
        """Seconds for the next step, at most ``timeout``. Raises ``late`` if there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise late("the call took too long")
        return left if timeout is None else min(timeout, left)


def bound(client: httpx.Client, deadline: Deadline) -> None:
    """Have every connection of ``client`` keep to ``deadline``.

    By themselves, httpx's timeouts start anew with each byte. Its transports cannot be given a network of one's own
    but by private names: the tests of slow servers would notice if those moved.
    """
    network: Any = _Network(deadline)
    transports: Iterable[Any] = (client._transport, *client._mounts.values())
    for transport in transports:
        if transport is not None:
            transport._pool._network_backend = network


class _Network(httpcore.NetworkBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        made = self._network.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(made, self._deadline)

    def sleep(self, seconds: float) -> None:
        self._network.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        read = self._stream.read(max_bytes, self._deadline.left(timeout, httpcore.ReadTimeout))
        self._deadline.moved(len(read))
        return read

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._stream.write(piece, self._deadline.left(timeout, httpcore.WriteTimeout))
            self._deadline.moved(len(piece))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
