"""Latency of /health while clients without a key hold connections open.

    python bench/slow_clients.py [--clients 2000] [--seconds 40] [--url http://127.0.0.1:8000]

A fifth of the clients each: sends nothing, sends a header letter by letter, sends a body letter by letter,
repeats requests without reading the answers, and asks again slowly on one connection. A client whose
connection ends opens another. Each probe of /health opens a connection from the same address, and counts as
failed without a status of 200 within 5 s. An honest client sends a body of 64 KB within 30 s meanwhile.

Each line has the probes, the failed ones, p50, p99 and the worst in ms, and the connections that the clients
hold. `--url` aims at a server that runs already.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent
KEY = "bench-key-of-the-owner"
PROBE_SECONDS = 5.0
WARM_SECONDS = 12.0
"""Time in which a new server imports what runs need."""

LETTER_SECONDS = 2.0
AGAIN_SECONDS = 5.0
"""Mean time until a client whose connection was ended opens another."""

UPLOAD_BYTES, UPLOAD_SECONDS = 65_536, 30

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--url")
    return parser.parse_args()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send nothing and wait for the end."""
    await reader.read()


async def endless_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a header that never ends."""
    await _dribble(writer, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ")


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a body that never ends."""
    head = b"POST /api/agent/task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    await _dribble(writer, head + b"Content-Length: 100000\r\n\r\n")


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask many times at once and read no answer."""
    writer.write(20 * b"GET /static/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await writer.drain()
    await writer.wait_closed()


async def lingering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Use a connection once in a while, and begin requests that never end."""
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"}")
    await _dribble(writer, b"GET /hea")


async def _dribble(writer: asyncio.StreamWriter, start: bytes) -> None:
    writer.write(start)
    while not writer.is_closing():
        await writer.drain()
        await asyncio.sleep(LETTER_SECONDS * random.uniform(0.5, 1.5))
        writer.write(b"a")


KINDS: tuple[Client, ...] = (silent, endless_header, endless_body, deaf, lingering)


def attack(url: str, clients: int, held: "Synchronized[int]") -> None:
    """Keep `clients` connections open until the process is terminated."""
    raise_limit(clients)
    asyncio.run(_attack(url, clients, held))


async def _attack(url: str, clients: int, held: "Synchronized[int]") -> None:
    where = urlsplit(url)

    async def keep(client: Client) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                # A small buffer, so that a client which does not read fills it soon.
                reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1024)
                held.value += 1
                try:
                    await client(reader, writer)
                finally:
                    held.value -= 1
                    writer.close()
            await asyncio.sleep(random.uniform(0, 2 * AGAIN_SECONDS))

    await asyncio.gather(*(keep(KINDS[number % len(KINDS)]) for number in range(clients)))


async def probe(url: str) -> float | None:
    """Return the seconds that /health took on a new connection, or None if it failed."""
    where, began = urlsplit(url), time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError):
        return None
    return time.perf_counter() - began if answer.startswith(b"HTTP/1.1 200") else None


async def upload(url: str) -> str:
    """Send a body slowly, as the server's owner, and return the first line of the answer."""
    where = urlsplit(url)
    body = json.dumps({"metadata": {"filler": "a" * UPLOAD_BYTES}}).encode()
    try:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        head = f"POST /threads/search HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        size = len(body) // UPLOAD_SECONDS + 1
        for start in range(0, len(body), size):
            writer.write(body[start : start + size])
            await writer.drain()
            await asyncio.sleep(1)
        return (await reader.readline()).decode().strip() or "no answer"
    except OSError as error:
        return str(error)


async def measure(name: str, url: str, seconds: float, held: "Synchronized[int]") -> None:
    """Probe /health twenty times a second, and print a line."""
    taken: list[float | None] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        taken.append(await probe(url))
        await asyncio.sleep(0.05)
    good = sorted(1000 * latency for latency in taken if latency is not None)
    failed = len(taken) - len(good)
    marks = [good[int(len(good) * share)] for share in (0.5, 0.99)] + good[-1:] if good else []
    figures = " ".join(f"{mark:7.1f}" for mark in marks) or "      -       -       -"
    print(f"{name:18} probes {len(taken):4}  failed {failed:4}  ms {figures}  held {held.value}", flush=True)


async def compare(url: str, clients: int, seconds: float) -> None:
    """Measure without slow clients, and with them."""
    held = multiprocessing.get_context("spawn").Value("i", 0)
    await asyncio.sleep(WARM_SECONDS)
    await measure("alone", url, 5, held)
    arguments = (url, clients, held)
    attackers = multiprocessing.get_context("spawn").Process(target=attack, args=arguments, daemon=True)
    attackers.start()
    try:
        await asyncio.sleep(1)
        sending = asyncio.create_task(upload(url))
        await measure(f"{clients} slow clients", url, seconds, held)
        print(f"honest slow upload: {await sending}")
    finally:
        attackers.kill()


def raise_limit(count: int) -> None:
    """Allow this process enough open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 512), hard))


def main() -> None:
    """Measure a server of our own, or the one at `--url`."""
    arguments = parse()
    if arguments.url:
        asyncio.run(compare(arguments.url, arguments.clients, arguments.seconds))
        return
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    # The process of the slow clients imports this file and must start at once.
    from desk import Desk
    from served import Served

    with (
        tempfile.TemporaryDirectory() as folder,
        Desk() as desk,
        Served(Path(folder), desk, AUTOCODE_API_KEY=KEY) as served,
    ):
        asyncio.run(compare(served.url, arguments.clients, arguments.seconds))


if __name__ == "__main__":
    main()
