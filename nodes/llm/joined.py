"""Pieces of a streamed reply that come close together are joined before the client library parses them.

Parsing a piece and passing it through LangChain and LangGraph takes 0.4 ms of the one thread there is: at 50
replies of 100 pieces a second each, that is two cores. So what comes piles up in aiohttp's buffer, and is
passed on once a window.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import groupby
from typing import Any, cast

import httpx
import orjson

WINDOW = 0.05
"""Seconds between two deliveries of one reply; the first piece is not held."""

WINDOW_OF_MANY = 0.1
"""The same where more than MANY replies come at once."""

MANY = 16

SSE = b"\n\n"

TEXT = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
PIECE = re.compile(rb'(data: \{.*?"content": ?")' + TEXT + rb'(".*)')
"""An event with a text: what stands before it, and after it."""

BETWEEN = re.compile(TEXT)

Around = tuple[bytes, bytes]


async def join(response: httpx.Response) -> None:
    """A response hook for httpx: server-sent events of OpenAI's wire arrive joined."""
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/event-stream") and "content-encoding" not in response.headers:
        response.stream = _Joined(cast(httpx.AsyncByteStream, response.stream))


class _Joined(httpx.AsyncByteStream):
    open = 0

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        arrived = bytearray()
        _Joined.open += 1
        try:
            async for data in self._stream:
                arrived += data
                if whole := _whole(arrived):
                    yield whole
                    await asyncio.sleep(WINDOW if _Joined.open <= MANY else WINDOW_OF_MANY)
            yield bytes(arrived)
        except Exception:  # whatever broke the stream off goes on to the caller, behind what came before it
            yield bytes(arrived) + _unread(self._stream)
            raise
        finally:
            _Joined.open -= 1

    async def aclose(self) -> None:
        await self._stream.aclose()


def _unread(stream: Any) -> bytes:
    """What came before a stream broke off, and is paid for: aiohttp gives the error first and this never."""
    answer = getattr(getattr(stream, "_stream", None), "_aiohttp_response", None)
    return b"" if answer is None else b"".join(answer.content._buffer)[answer.content._buffer_offset :]


def _whole(arrived: bytearray) -> bytes:
    """Take the events that have arrived whole, joined where they only carry text."""
    end = arrived.rfind(SSE)
    if end < 0:
        return b""
    events = bytes(arrived[:end]).split(SSE)
    del arrived[: end + len(SSE)]
    return b"".join(event + SSE for event in joined(events))


def joined(events: list[bytes]) -> list[bytes]:
    """Events with the texts of neighbours put into one; whatever carries more than text stays as it is."""
    return [joint for around, alike in groupby(events, _Around()) for joint in _put(around, list(alike))]


def _put(around: Around | None, events: list[bytes]) -> list[bytes]:
    """Neighbours with the same around them, as one where that is all that they are."""
    if around is None or len(events) == 1 or not _text_alone(b"x".join(around)):
        return events
    head, tail = around
    return [head + b"".join(event[len(head) : len(event) - len(tail)] for event in events) + tail]


class _Around:
    """What stands before and after an event's text; None where there is none. To parse each costs more."""

    def __init__(self) -> None:
        self._last: Around | None = None

    def __call__(self, event: bytes) -> Around | None:
        if self._last is None or not _fits(event, *self._last):
            match = PIECE.fullmatch(event)
            self._last = match and (match[1], match[2])
        return self._last


def _fits(event: bytes, head: bytes, tail: bytes) -> bool:
    """Whether an event is a text between these two."""
    if not (event.startswith(head) and event.endswith(tail)):
        return False
    return bool(BETWEEN.fullmatch(event, len(head), len(event) - len(tail)))


def _text_alone(event: bytes) -> bool:
    """Whether an event brings a piece of text, which is x, and nothing else."""
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        chunk: dict[str, Any] = orjson.loads(event[6:])
        (choice,) = chunk["choices"]
        delta = {name: value for name, value in choice["delta"].items() if value is not None}
        rest = any(value is not None for name, value in choice.items() if name not in ("index", "delta"))
        return delta == {"content": "x"} and not (rest or chunk.get("usage") or chunk.get("error"))
    return False
