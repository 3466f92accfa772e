"""Pieces of a reply are joined before the client library sees them; nothing but text is touched."""

import json
from typing import Any

import httpx
import pytest
from desk import Desk
from openai import DefaultAioHttpClient

from nodes.llm.joined import SSE, join, joined


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
    found = joined(b"".join(event + SSE for event in events)).split(SSE)
    texts = [json.loads(one[6:])["choices"][0]["delta"].get("content") for one in (*found[:2], found[6])]
    assert texts == ["a", "bc\n\n", "fg"]
    kept = (0, 3, 4, 5, 6, 9, 10, 11, 12)
    assert found.pop() == b"" and [one for one in found if one in events] == [events[at] for at in kept]


@pytest.mark.parametrize("broken", [False, True])
async def test_a_stream_arrives_whole_in_fewer_parts_and_breaks_off_as_it_did(broken: bool) -> None:
    words = "".join(f"{number} " for number in range(200))
    asked = {"messages": [{"role": "user", "content": "count"}], "stream": True}
    parts: list[bytes] = []
    hooks: Any = {"response": [join]}
    with Desk(tokens_per_second=400).on("count", words, drop=broken) as desk:
        async with DefaultAioHttpClient(event_hooks=hooks) as client:
            try:
                async with client.stream("POST", f"{desk.url}/chat/completions", json=asked) as response:
                    async for part in response.aiter_raw():
                        parts.append(part)
            except httpx.TransportError:
                assert broken
            else:
                assert not broken
    chunks = [
        json.loads(event[6:]) for event in b"".join(parts).split(b"\n\n") if event.startswith(b"data: {")
    ]
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    whole = "".join(texts)
    assert words.startswith(whole) and (len(whole) < len(words)) is broken and whole
    assert 3 < len(parts) < 60, "200 pieces in half a second, in windows of 50 ms"
