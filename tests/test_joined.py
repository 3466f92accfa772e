"""Pieces of a reply are joined before the client library sees them; nothing but text is touched."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from nodes.llm.joined import join, joined


def piece(content: str | None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    choice = {"index": index, "delta": delta | more, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode()


def test_texts_are_joined_and_all_else_keeps_its_place() -> None:
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}'
    events = [
        piece("a", role="assistant"),
        piece("b"),
        piece("c\n\n"),
        b": a comment",
        piece("d"),
        piece(None, tool_calls=[{"index": 0}]),
        piece("e"),
        piece("f", index=1),
        piece("g", index=1),
        piece("", "stop"),
        usage,
        b"data: [DONE]",
        b"data: not json",
    ]
    found = joined(events)
    texts = [json.loads(one[6:])["choices"][0]["delta"].get("content") for one in (*found[:2], found[6])]
    assert texts == ["a", "bc\n\n", "fg"]
    kept = (0, 3, 4, 5, 6, 9, 10, 11, 12)
    assert [one for one in found if one in events] == [events[at] for at in kept]


@pytest.mark.parametrize("broken", [False, True])
async def test_a_stream_arrives_whole_in_fewer_parts_and_breaks_off_as_it_did(broken: bool) -> None:
    async def told() -> AsyncIterator[bytes]:
        for number in range(50):
            data = piece(f"{number} ") + b"\n\n"
            yield data[:20]
            yield data[20:]
            await asyncio.sleep(0.002)
        if broken:
            raise httpx.ReadError("gone")

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=told())

    parts: list[bytes] = []
    hooks: Any = {"response": [join]}
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), event_hooks=hooks) as client:
        try:
            async with client.stream("GET", "http://desk/") as response:
                async for part in response.aiter_raw():
                    parts.append(part)
        except httpx.ReadError:
            assert broken
    events = b"".join(parts).split(b"\n\n")[:-1]
    texts = [json.loads(event[6:])["choices"][0]["delta"]["content"] for event in events]
    assert "".join(texts) == "".join(f"{number} " for number in range(50))
    assert texts[0] == "0 " and len(parts) < 40
