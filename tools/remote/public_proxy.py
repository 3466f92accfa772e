"""A proxy through which git reaches public addresses, and nothing else.

git itself would follow a redirect, or a name that resolves differently the second time, to an internal
service or to a cloud's metadata server.
"""

import asyncio
import base64
import ipaddress
import secrets
from collections.abc import Collection, Mapping

from sandbox.environment.proxy import HEAD_BYTES, FilteringProxy, embedded_address, leads_here

_SPECIAL = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")))
"""Networks that Python may take for public: Azure's metadata, Oracle's, and relays."""


class PublicProxy(FilteringProxy):
    """A proxy on a port of this machine, for a client that knows its password.

    `full` is True once the far sides sent more than `limit` bytes. The proxy then passes nothing on.
    """

    resolves_always = True

    def __init__(
        self, limit: int, proxies: Mapping[str, str], hosts: Collection[tuple[str, int]] = ()
    ) -> None:
        super().__init__(proxies, hosts)
        self._left = limit
        self._password = secrets.token_hex(16)

    @property
    def full(self) -> bool:
        """True once too much was received."""
        return self._left < 0

    @property
    def url(self) -> str:
        """The proxy's address with its password, which nobody else on this machine knows."""
        assert self._server  # noqa: S101  # set on entry
        return f"http://git:{self._password}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_BYTES)

    def is_client(self, headers: bytes) -> bool:
        """Compare the password, without telling by the time how much of it was right."""
        pair = base64.b64encode(f"git:{self._password}".encode())
        lines = [line.split(b":", 1) for line in headers.split(b"\r\n") if b":" in line]
        sent = next((value for name, value in lines if name.lower() == b"proxy-authorization"), b"")
        return secrets.compare_digest(sent.strip(), b"Basic " + pair)

    def is_allowed(self, address: str) -> bool:
        """Return whether an address is public, and no other machine's or network's own."""
        return is_public(address) and not leads_here(address)

    def count(self, length: int) -> None:
        """Stop at the limit. An endless answer would otherwise fill the disk."""
        self._left -= length
        if self.full:
            raise ValueError("too much was received")


def is_public(address: str) -> bool:
    """Return whether an address is reachable from the whole internet, also if it embeds an IPv4 address."""
    try:
        ip = embedded_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip.sixtofour or ip.teredo or ip.is_site_local):
        return False
    special = ip.is_multicast or ip.is_reserved or any(ip in network for network in _SPECIAL)
    return ip.is_global and not special
