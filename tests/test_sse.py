"""Server-Sent Events: dropped readers, and errors in mid-stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sse_starlette import ServerSentEvent
from starlette.types import Message

from server.api.sse import sse_message, sse_response


async def test_a_reader_that_takes_nothing_is_dropped_and_its_source_closed() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[ServerSentEvent]:
        try:
            while True:
                yield ServerSentEvent("x" * 1000)
        finally:
            closed.set()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimeoutError):
        await sse_response(source(), 0.05)({"type": "http", "method": "GET"}, receive, send)
    assert closed.is_set()


async def test_what_fails_in_mid_stream_is_told_as_a_message_without_a_trace() -> None:
    sent: list[Any] = []

    async def source() -> AsyncIterator[ServerSentEvent]:
        yield sse_message("one")
        raise ValueError("a secret")

    async def send(part: Message) -> None:
        sent.append(part)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ValueError, match="a secret"):
        await sse_response(source(), 5)({"type": "http", "method": "GET"}, receive, send)
    body = b"".join(part.get("body", b"") for part in sent).decode()
    assert "data: one\n" in body and "event: error\n" in body and "a secret" not in body
    assert json.loads(body.split("event: error\ndata: ")[1])["status"] == 500
