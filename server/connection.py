"""HTTP connections with limits, so that slow and silent clients cannot hold them.

uvicorn limits only the time between two requests. A client that never finishes a request would hold its
connection for ever, before the guard could ask for a key. hypercorn's `read_timeout` ends event streams too,
because their readers send nothing, and granian limits headers alone. Neither counts connections per client.
"""

import asyncio
import fcntl
import ipaddress
import sys
import termios
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n"
    b'{"type":"about:blank","title":"Request too slow","status":408,'
    b'"detail":"the request did not arrive in time; send it again without pauses"}'
)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections, in seconds, bytes a second and connections.

    The minimum rate of bodies is that of Apache's mod_reqtimeout: each second of delay needs `body_rate`
    bytes. A reader of a large answer must read `reader_rate`, which any telephone does. `idle` and
    `idle_of_client` limit the connections on which no request is in progress.
    """

    header_seconds: float = 10.0
    body_seconds: float = 20.0
    body_rate: int = 500
    reader_seconds: float = 20.0
    reader_rate: int = 10_000
    closing_seconds: float = 5.0
    idle: int = 1024
    idle_of_client: int = 256
    proxies: tuple[Network, ...] = ()


class IdleConnections:
    """The connections on which no request is in progress, oldest first for each client.

    A new connection ends the oldest one of its client if the client has too many. Honest clients send their
    headers at once, so theirs are never the oldest.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._all: dict[LimitedConnection, None] = {}
        self._of_client: defaultdict[str, dict[LimitedConnection, None]] = defaultdict(dict)

    def add(self, connection: "LimitedConnection") -> None:
        """Count a connection, and end the oldest one beyond a limit."""
        self._all[connection] = None
        own = self._of_client[connection.address]
        own[connection] = None
        # All clients of a proxy have its address.
        if len(own) > self._limits.idle_of_client and not self._is_proxy(connection.address):
            next(iter(own)).abort()
        if len(self._all) > self._limits.idle:
            next(iter(self._all)).abort()

    def discard(self, connection: "LimitedConnection") -> None:
        """Forget a connection that has a request, or has ended."""
        if connection not in self._all:
            return
        del self._all[connection]
        own = self._of_client[connection.address]
        del own[connection]
        if not own:
            del self._of_client[connection.address]

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._limits.proxies)


class LimitedConnection(H11Protocol):
    """A connection of uvicorn whose requests must arrive in time, and whose answers must be read."""

    def __init__(self, *args: Any, limits: ConnectionLimits, idle: IdleConnections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.address = ""
        self._limits, self._idle = limits, idle
        self._phase = ""
        self._began, self._received = 0.0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Wait for the first request."""
        super().connection_made(transport)
        self.address = counted_address(self.client[0] if self.client else "")
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        self._received += len(data)
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the end of a body that nobody reads."""
        super().on_response_complete()
        if self._phase == "body" and self.conn.their_state is h11.SEND_BODY:
            self._enter("unwanted body", self._limits.closing_seconds)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to the WebSocket, which has limits of its own."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client time to read what it asked for."""
        super().pause_writing()
        if not self._unread:
            self._await_reader()

    def resume_writing(self) -> None:
        """Go on, as the client reads."""
        if self._unread:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def abort(self) -> None:
        """End the connection at once."""
        self._leave()
        self.transport.abort()

    def _await_reader(self) -> None:
        """End the connection, unless the client reads fast enough until then."""
        limits, before = self._limits, self._unread_bytes()

        def check() -> None:
            if before - self._unread_bytes() < limits.reader_rate * limits.reader_seconds:
                self.abort()
            else:
                self._await_reader()

        self._unread = self.loop.call_later(limits.reader_seconds, check)

    def _unread_bytes(self) -> int:
        """Return the bytes that the client has not acknowledged. The kernel holds megabytes of them."""
        waiting = int(self.transport.get_write_buffer_size())
        with suppress(OSError):
            place = self.transport.get_extra_info("socket").fileno()
            sent = fcntl.ioctl(place, termios.TIOCOUTQ, bytes(4))
            waiting += int.from_bytes(sent, sys.byteorder)
        return waiting

    def _watch(self) -> None:
        """Limit the time of the phase that the client is in."""
        state = self.conn.their_state
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._leave()
        elif state is h11.IDLE and self._phase != "header":
            self._enter("header", self._limits.header_seconds)
            self._idle.add(self)
        elif state is h11.SEND_BODY and self._phase not in ("body", "unwanted body"):
            self._enter("body", self._limits.body_seconds)
        elif state not in (h11.IDLE, h11.SEND_BODY):
            self._leave()

    def _enter(self, phase: str, seconds: float) -> None:
        self._leave()
        self._phase, self._began, self._received = phase, self.loop.time(), 0
        self._timer = self.loop.call_later(seconds, self._end_phase)

    def _leave(self) -> None:
        self._idle.discard(self)
        self._phase = ""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _end_phase(self) -> None:
        """End the connection, unless a slow body has earned more time."""
        limits = self._limits
        earned = self._began + limits.body_seconds + self._received / limits.body_rate - self.loop.time()
        if self._phase == "body" and earned > 0:
            self._timer = self.loop.call_later(earned, self._end_phase)
            return
        has_begun = self._phase == "body" or (self._phase == "header" and self._received > 0)
        is_answering = self.cycle and self.cycle.response_started and not self.cycle.response_complete
        if has_begun and not is_answering:
            self.transport.write(_LATE)
        self._leave()
        self.transport.close()
        # Closing waits until the client has read what was sent.
        self.loop.call_later(limits.closing_seconds, self.transport.abort)


def limited_connections(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """Return the factory of a server's connections, as uvicorn's option `http` takes it."""
    factory = partial(LimitedConnection, limits=limits, idle=IdleConnections(limits))
    return cast(type[asyncio.Protocol], factory)


def counted_address(host: str) -> str:
    """Return the address that limits count: an IPv6 client has a whole network of 64 bits."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)  # as of a socket that listens on both
    if address.is_loopback:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
