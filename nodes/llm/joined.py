"""Pieces of a streamed reply that come close together are joined before the client library parses them.

Parsing a piece and passing it through LangChain and LangGraph takes 0.4 ms of the one thread there is: at 50
replies of 100 pieces a second each, that is two cores. So what comes piles up in the kernel, and is read and
passed on once a window.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import orjson

if TYPE_CHECKING:
    from aiohttp import ClientResponse

WINDOW = 0.05
"""Seconds between two deliveries of one reply; the first piece is not held."""

WINDOW_OF_MANY = 0.08
"""The same where more than MANY replies come at once."""

MANY = 16

SSE = b"\n\n"

TEXT = re.compile(rb'[^"\\\n]*+(?:\\.[^"\\\n]*+)*+')
PIECE = re.compile(rb'(data: \{.*?"content": ?")' + TEXT.pattern + rb'(".*)')
"""An event with a text: what stands before it, and after it."""


async def join(response: httpx.Response) -> None:
    """A response hook for httpx: server-sent events of OpenAI's wire arrive joined."""
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/event-stream") and "content-encoding" not in response.headers:
        response.stream = _Joined(response.stream)


class _Joined(httpx.AsyncByteStream):
    open = 0

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._answer: ClientResponse | None = getattr(
            getattr(stream, "_stream", None), "_aiohttp_response", None
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        arrived = bytearray()
        _Joined.open += 1
        try:
            async for data in self._stream:
                arrived += data
                if whole := _whole(arrived):
                    yield whole
                    await self._pause(WINDOW if _Joined.open <= MANY else WINDOW_OF_MANY)
            yield bytes(arrived)
        except Exception:  # whatever broke the stream off goes on to the caller, behind what came before it
            yield bytes(arrived) + self._unread()
            raise
        finally:
            _Joined.open -= 1

    async def _pause(self, seconds: float) -> None:
        """Let what comes pile up in the kernel, which takes it at no cost of ours."""
        connection = self._answer and self._answer.connection
        protocol = connection and connection.protocol
        if protocol:
            protocol.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            if protocol and protocol.connected:
                protocol.resume_reading()

    def _unread(self) -> bytes:
        """What came before a break, and is paid for: aiohttp gives the error first and this never."""
        if self._answer is None:
            return b""
        content = self._answer.content
        return b"".join(content._buffer)[content._buffer_offset :]

    async def aclose(self) -> None:
        await self._stream.aclose()


def _whole(arrived: bytearray) -> bytes:
    """Take the events that have arrived whole, joined where they only carry text."""
    end = arrived.rfind(SSE)
    if end < 0:
        return b""
    end += len(SSE)
    events = bytes(arrived[:end])
    del arrived[:end]
    return joined(events)


def joined(events: bytes) -> bytes:
    """Events, each ended by SSE, with the texts of neighbours put into one where that is all that differs."""
    found, at = bytearray(), 0
    while at < len(events):
        end = events.index(SSE, at)
        match = PIECE.fullmatch(events, at, end)
        if match and _text_alone(b"x".join(match.groups())):
            head, tail = match.groups()
            texts, at = _texts(events, at, head, tail + SSE)
            found += head + b"".join(texts) + tail + SSE
        else:
            found += events[at : end + len(SSE)]
            at = end + len(SSE)
    return bytes(found)


def _texts(events: bytes, at: int, head: bytes, tail: bytes) -> tuple[list[bytes], int]:
    """The texts from `at` on with just these around them, and where they end. To parse each costs more."""
    texts: list[bytes] = []
    while events.startswith(head, at):
        end = events.find(tail, at + len(head))
        text = events[at + len(head) : end]
        if end < 0 or not TEXT.fullmatch(text):
            break
        texts.append(text)
        at = end + len(tail)
    return texts, at


def _text_alone(event: bytes) -> bool:
    """Whether an event brings a piece of text, which is x, and nothing else."""
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        chunk: dict[str, Any] = orjson.loads(event[6:])
        (choice,) = chunk["choices"]
        delta = {name: value for name, value in choice["delta"].items() if value is not None}
        rest = any(value is not None for name, value in choice.items() if name not in ("index", "delta"))
        return delta == {"content": "x"} and not (rest or chunk.get("usage") or chunk.get("error"))
    return False
