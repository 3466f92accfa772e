"""Pieces of a streamed reply that come close together are joined before the client library parses them.

Parsing a piece and passing it through LangChain and LangGraph takes 0.4 ms of the one thread there is, and
reading it from the network 0.1 ms: at 50 replies of 100 pieces a second each, that is more than two cores.
So what comes piles up in the system's buffer, and is read and passed on once a window.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import httpx
import orjson

WINDOW = 0.05
"""Seconds between two deliveries of one reply; the first piece is not held."""

WINDOW_OF_MANY = 0.1
"""The same where more than MANY replies come at once."""

MANY = 16

READING = 0.2
"""The share of a window, its last, in which what has piled up is read."""

SSE = b"\n\n"


async def join(response: httpx.Response) -> None:
    """A response hook for httpx: server-sent events of OpenAI's wire arrive joined."""
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/event-stream") and "content-encoding" not in response.headers:
        response.stream = _Joined(cast(httpx.AsyncByteStream, response.stream))


class _Joined(httpx.AsyncByteStream):
    open = 0

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._arrived = bytearray()
        self._news = asyncio.Event()
        self._gate = asyncio.Event()
        self._gate.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reading = asyncio.create_task(self._read())
        _Joined.open += 1
        try:
            while not reading.done():
                await self._news.wait()
                self._news.clear()
                if whole := self._whole():
                    self._gate.clear()
                    yield whole
                    window = WINDOW if _Joined.open <= MANY else WINDOW_OF_MANY
                    await asyncio.sleep(window * (1 - READING))
                    self._gate.set()
                    await asyncio.wait((reading,), timeout=window * READING)
            yield self._whole() + bytes(self._arrived)
            reading.result()
        finally:
            _Joined.open -= 1
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def _read(self) -> None:
        try:
            async for data in self._stream:
                self._arrived += data
                self._news.set()
                await self._gate.wait()
        finally:
            self._news.set()

    def _whole(self) -> bytes:
        """The events that have arrived whole, joined where they only carry text."""
        end = self._arrived.rfind(SSE)
        if end < 0:
            return b""
        events = bytes(self._arrived[:end]).split(SSE)
        del self._arrived[: end + len(SSE)]
        return b"".join(event + SSE for event in joined(events))


def joined(events: list[bytes]) -> list[bytes]:
    """Events with the texts of neighbours put into one; whatever carries more than text stays as it is."""
    found: list[bytes] = []
    chunk: dict[str, Any] | None = None
    texts: list[str] = []

    def close() -> None:
        if chunk and len(texts) > 1:
            chunk["choices"][0]["delta"]["content"] = "".join(texts)
            found[-1] = b"data: " + orjson.dumps(chunk)

    for event in events:
        new = _text_alone(event)
        if new and chunk and _choice(new).get("index") == _choice(chunk).get("index"):
            texts.append(_choice(new)["delta"]["content"])
            continue
        close()
        chunk, texts = new, [_choice(new)["delta"]["content"]] if new else []
        found.append(event)
    close()
    return found


def _choice(chunk: dict[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], chunk["choices"][0])


def _text_alone(event: bytes) -> dict[str, Any] | None:
    """The chunk of an event that brings a piece of text and nothing else."""
    if not event.startswith(b"data: {") or b"\n" in event:
        return None
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        chunk: dict[str, Any] = orjson.loads(event[6:])
        (choice,) = chunk["choices"]
        delta = {name for name, value in choice["delta"].items() if value is not None}
        rest = any(value is not None for name, value in choice.items() if name not in ("index", "delta"))
        if delta == {"content"} and isinstance(choice["delta"]["content"], str) and not rest:
            return None if chunk.get("usage") or chunk.get("error") else chunk
    return None
