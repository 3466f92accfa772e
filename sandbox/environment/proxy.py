"""A proxy through which builds reach package registries, and nothing on this machine.

A build has no network of its own, only a socket that leads here. Local services and the cloud's metadata
server, which hands out keys, are therefore out of reach.
"""

import asyncio
import base64
import ipaddress
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import psutil

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = ("fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192")
"""Metadata of AWS, Azure, Alibaba and Oracle beside 169.254.169.254."""

_PORTS = (80, 443)
HEAD_BYTES = 65_536
_CHUNK = 65_536
_HEAD_SECONDS = 30
_CONNECT_SECONDS = 30
_MAX_CONNECTIONS = 200

FORWARDER = """\
import os, socket, sys, threading

def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

socket.socket(socket.AF_UNIX).connect(sys.argv[2])
server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=200)
print("ready", flush=True)
os.close(1)
while True:
    near, _ = server.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[2])
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    threading.Thread(target=pump, args=(far, near), daemon=True).start()
"""
"""A program for the inside. It passes a local port on to the proxy's socket, and writes `ready`."""

PORT = 3128
"""The forwarder's port."""

_ADDRESS = f"http://127.0.0.1:{PORT}"
_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
VARIABLES = {**dict.fromkeys(_NAMES, _ADDRESS), "NO_PROXY": "127.0.0.1"}
"""The variables of programs that use the forwarder."""


@asynccontextmanager
async def open_proxy(
    proxies: Mapping[str, str], hosts: Collection[tuple[str, int]]
) -> AsyncIterator["RegistryProxy"]:
    """Serve a proxy on a socket in a folder that nobody else can enter."""
    # A socket's path must be short.
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="autocode-"))
    try:
        async with RegistryProxy(folder / "s", proxies, hosts) as proxy:
            yield proxy
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


class FilteringProxy:
    """Serves HTTP and CONNECT requests while it is open, and refuses addresses that are not allowed.

    Host names are resolved once, here, and the connection goes to the very address that was checked.
    """

    resolves_always = False
    """True if names are resolved and checked even where another proxy makes the connection."""

    def __init__(self, proxies: Mapping[str, str], hosts: Collection[tuple[str, int]]) -> None:
        """Pass requests on to `proxies`, if there are any. `hosts` may be anywhere."""
        self.refused: set[str] = set()
        self._proxies = proxies
        self._hosts = hosts
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server  # noqa: S101  # set on entry
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        raise NotImplementedError

    def is_client(self, headers: bytes) -> bool:
        """Return whether a request comes from the program that the proxy is for."""
        return True

    def is_allowed(self, address: str) -> bool:
        """Return whether a resolved address may be reached."""
        return not leads_here(address)

    def count(self, length: int) -> None:
        """Take note of bytes that came from the far side."""

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  # streams run their callback in a task
        self._tasks.add(task)
        try:
            if len(self._tasks) <= _MAX_CONNECTIONS:
                await self._serve(reader, writer)
        except (
            OSError,
            ValueError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ) as error:
            with suppress(OSError):
                writer.write(f"HTTP/1.1 502 Bad Gateway\r\n\r\n{type(error).__name__}".encode())
        except asyncio.CancelledError:
            pass  # by `__aexit__`, and asyncio would log it
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        line, _, headers = head.partition(b"\r\n")
        method, target, protocol = line.decode("ascii").split(" ")
        # A lenient upstream would take what follows a bare line break for another request, or a header.
        if not self.is_client(headers) or len(head.splitlines()) != head.count(b"\r\n"):
            raise ValueError(target)
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = (url.hostname or "").lower(), url.port or (443 if method == "CONNECT" else 80)
        if not host or (method != "CONNECT" and url.scheme != "http"):
            raise ValueError(target)
        if not (addresses := await self._allowed(host, port)):
            self.refused.add(f"{host}:{port}")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        upstream = self._upstream(host, secure=method == "CONNECT")
        async with asyncio.timeout(_CONNECT_SECONDS):
            far_reader, far_writer = await _connect(addresses, port, upstream)
        try:
            if method == "CONNECT" and not upstream:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = target if upstream else url._replace(scheme="", netloc="").geturl() or "/"
                # A connection that stays open would take a second request to a host that nobody has checked.
                closing = "" if method == "CONNECT" else "Connection: close\r\n"
                first = f"{method} {path} {protocol}\r\n{closing}".encode()
                # The upstream's password never enters the sandbox.
                far_writer.write(first + _authorization(upstream) + _direct(headers))
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer, self.count))
        finally:
            far_writer.close()

    async def _allowed(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that may be reached. Configured hosts may be anywhere."""
        configured = (host, port) in self._hosts
        if port not in _PORTS and not configured:
            return []
        upstream = self._upstream(host, secure=port == 443)
        # Behind a proxy this machine may be unable to resolve names, or wait long for an answer.
        flags = socket.AI_NUMERICHOST if upstream and not self.resolves_always else 0
        addresses: list[str] = []
        with suppress(OSError):
            async with asyncio.timeout(_CONNECT_SECONDS):
                infos = await asyncio.get_running_loop().getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, flags=flags
                )
            addresses = [str(info[4][0]) for info in infos]
        if not configured and not all(map(self.is_allowed, addresses)):
            return []
        return [host] if upstream else addresses

    def _upstream(self, host: str, secure: bool) -> str:
        exceptions = [
            name.strip().lstrip(".").lower() for name in self._proxies.get("NO_PROXY", "").split(",")
        ]
        if any(name == "*" or (name and (host == name or host.endswith(f".{name}"))) for name in exceptions):
            return ""
        name = "HTTPS_PROXY" if secure else "HTTP_PROXY"
        found = self._proxies.get(name) or self._proxies.get("ALL_PROXY", "")
        return found if "://" in found or not found else f"http://{found}"


class RegistryProxy(FilteringProxy):
    """A proxy for builds, on a Unix socket. Registries on the local network are allowed."""

    def __init__(self, path: Path, proxies: Mapping[str, str], hosts: Collection[tuple[str, int]]) -> None:
        super().__init__(proxies, hosts)
        self.path = path

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_unix_server(self._accept, self.path, limit=HEAD_BYTES)
        self.path.chmod(0o666)  # the build runs as another user, and only it sees the socket's folder
        return server


async def _connect(
    addresses: list[str], port: int, upstream: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if upstream:
        parts = urlsplit(upstream)
        return await asyncio.open_connection(
            parts.hostname, parts.port or 3128, ssl=True if parts.scheme == "https" else None
        )
    failure: OSError = OSError("no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(address, port)
        except OSError as error:
            failure = error
    raise failure


def embedded_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address, or the IPv4 address that a gateway or the kernel reads in it. Raises ValueError."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and (ip in _NAT64 or ip.ipv4_mapped):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def leads_here(address: str) -> bool:
    """Return whether an address leads to this machine or to its cloud's metadata."""
    ip = embedded_address(address)
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or str(ip) in _METADATA:
        return True
    return any(
        str(ip) == own.address.partition("%")[0] for owns in psutil.net_if_addrs().values() for own in owns
    )


def _authorization(upstream: str) -> bytes:
    """Return the header for the upstream, empty if there is none or it wants no password."""
    parts = urlsplit(upstream)
    if not parts.username:
        return b""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return b"Proxy-Authorization: Basic " + base64.b64encode(pair.encode()) + b"\r\n"


def _direct(headers: bytes) -> bytes:
    """Drop the headers that are between a client and its proxy."""
    lines = headers.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith((b"proxy-", b"connection:")))


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None] | None = None
) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            if count:
                count(len(data))
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
