"""Limits of connections: slow clients lose theirs, streams and honest clients keep them."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from typing import cast

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from graph.settings import Settings
from server.api.guard import Guard
from server.connection import ConnectionLimits, counted_address, limited_connections

SHORT = ConnectionLimits(
    header_seconds=0.3,
    body_seconds=0.3,
    body_rate=100,
    reader_seconds=0.5,
    reader_rate=100_000,
    closing_seconds=0.2,
)
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Count the body. /stream sends for a second, /large answers with 10 MB, /whole with 24 at
    once, /early reads no body."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(1)
        return await send({"type": "websocket.send", "text": "still here"})
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(10 if scope["path"] == "/stream" else 0):
        await send({"type": "http.response.body", "body": b".", "more_body": True})
        await asyncio.sleep(0.1)
    if scope["path"] == "/whole":
        await send({"type": "http.response.body", "body": bytes(24_000_000), "more_body": True})
    if scope["path"] == "/large":
        for _ in range(160):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    await send({"type": "http.response.body", "body": str(size).encode()})


@asynccontextmanager
async def serving(limits: ConnectionLimits = SHORT) -> AsyncIterator[int]:
    """Serve the app, and yield the port."""
    config = uvicorn.Config(app, http=limited_connections(limits), lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        await server.startup([listening])
        try:
            yield listening.getsockname()[1]
        finally:
            server.force_exit = True
            await server.shutdown([listening])


async def opened(port: int, first: bytes = b"", address: str = "127.0.0.1") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(first)
    await asyncio.sleep(0.02)
    return reader, writer


async def answer(streams: Streams) -> bytes:
    """Return what the server sends until it ends the connection."""
    reader, writer = streams
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:  # it was sent more after its end
        return b""
    finally:
        writer.close()


async def dribble(streams: Streams, pieces: int, piece: bytes) -> None:
    for _ in range(pieces):
        if _has_ended(streams[0]):
            break
        streams[1].write(piece)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "first, end",
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: local", b"HTTP/1.1 408 "),
        (HEAD, b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT", b"HTTP/1.1 200 "),
    ],
)
async def test_a_request_that_does_not_arrive_ends_its_connection(first: bytes, end: bytes) -> None:
    async with serving() as port:
        assert (await answer(await opened(port, first))).startswith(end)


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: local", HEAD, HEAD.replace(b" / ", b" /early ")])
async def test_sending_letter_by_letter_does_not_help(first: bytes) -> None:
    async with serving() as port:
        streams = await opened(port, first)
        await dribble(streams, 30, b"a")
        assert _has_ended(streams[0])
        streams[1].close()


async def test_a_body_that_is_slow_and_steady_gets_its_answer() -> None:
    async with serving() as port:
        streams = await opened(port, HEAD)
        await dribble(streams, 20, 10 * b"a")  # a second, three times body_seconds
        assert (await streams[0].readline()).startswith(b"HTTP/1.1 200 ")
        streams[1].close()


async def test_streams_and_websockets_live_on_while_their_clients_are_silent() -> None:
    async with (
        serving() as port,
        httpx.AsyncClient(trust_env=False) as client,
        connect(f"ws://127.0.0.1:{port}/", proxy=None) as websocket,
    ):
        assert (await client.get(f"http://127.0.0.1:{port}/stream")).text == f"{10 * '.'}0"
        assert await websocket.recv() == "still here"


async def test_a_client_that_reads_no_answer_is_disconnected() -> None:
    async with serving() as port:
        streams = await opened(port, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stuck = cast(asyncio.Transport, streams[1].transport)
        stuck.pause_reading()
        await asyncio.sleep(1)
        stuck.resume_reading()
        assert len(await answer(streams)) < 10_000_000


async def test_a_client_that_reads_a_large_answer_slowly_gets_all_of_it() -> None:
    async with serving() as port:
        reader, writer = await opened(port, b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(24):  # one and a half seconds, three times reader_seconds
            await reader.readexactly(1_000_000)
            await asyncio.sleep(0.06)
        writer.close()


PATIENT = ConnectionLimits(idle=8, idle_of_client=3)


@pytest.mark.parametrize(
    "limits, addresses, ended",
    [
        (PATIENT, 5 * ["127.0.0.1"], [0, 1]),
        (PATIENT, [*3 * ["127.0.0.1"], *3 * ["127.0.0.2"]], []),
        (replace(PATIENT, proxies=(ipaddress.ip_network("127.0.0.0/24"),)), 5 * ["127.0.0.1"], []),
        (PATIENT, [f"127.0.0.{number}" for number in range(1, 11)], [0, 1]),
    ],
)
async def test_too_many_idle_connections_end_the_oldest_ones(
    limits: ConnectionLimits, addresses: list[str], ended: list[int]
) -> None:
    async with serving(limits) as port:
        all_streams = [await opened(port, b"GET / HT", address) for address in addresses]
        await asyncio.sleep(0.1)
        assert [number for number, (reader, _) in enumerate(all_streams) if _has_ended(reader)] == ended
        finish = b"TP/1.1\r\nHost: localhost\r\n\r\n"
        newest = all_streams[-1]
        newest[1].write(finish)
        assert (await newest[0].readline()).startswith(b"HTTP/1.1 200 ")
        for _, writer in all_streams:
            writer.close()


def _has_ended(reader: asyncio.StreamReader) -> bool:
    return reader.at_eof() or reader.exception() is not None


@pytest.mark.parametrize(
    "host, counted",
    [
        ("10.0.0.9", "10.0.0.9"),
        ("::ffff:10.0.0.9", "10.0.0.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::1", "::1"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_a_client_counts_by_its_address_or_its_network(host: str, counted: str) -> None:
    assert counted_address(host) == counted


async def test_one_client_cannot_take_the_connections_of_all() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            entered.set()
            await leave.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(waiting, Settings(max_connections_per_client=1))

    def made(host: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(guard, client=(host, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async with made("10.0.0.1") as one, made("10.0.0.2") as other:
        held = asyncio.create_task(one.get("/wait"))
        await entered.wait()
        refused = await one.get("/api/threads")
        assert refused.status_code == 503 and "MAX_CONNECTIONS_PER_CLIENT" in refused.json()["detail"]
        assert (await one.get("/health")).status_code == 200, "it says that the server is alive"
        assert (await other.get("/api/threads")).status_code == 200
        leave.set()
        assert (await held).status_code == 200
        assert (await one.get("/api/threads")).status_code == 200
