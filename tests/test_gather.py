"""Pieces of a streamed reply joined: the same text, the same end, fewer messages."""

import json
from typing import Any

import httpx
import pytest
from desk import Desk

from nodes.llm.gather import EAGER_READS, gather, join


def piece(text: str | None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None} | more.pop("choice", {})
    return b"data: " + json.dumps({"id": "1", "choices": [choice], **more}).encode()


def texts(stream: bytes) -> list[str]:
    shapes = [json.loads(one[6:]) for one in stream.split(b"\n\n") if one.startswith(b"data: {")]
    return [shape["choices"][0]["delta"].get("content", "") for shape in shapes if shape["choices"]]


def test_neighbours_that_differ_in_their_text_alone_become_one() -> None:
    assert texts(join([piece("a\n"), piece("", obfuscation="x"), piece("“b”", obfuscation="yy")])) == [
        "a\n“b”"
    ]


@pytest.mark.parametrize(
    "other",
    [
        piece("b", id="2"),
        piece("b", choice={"finish_reason": "stop"}),
        piece("b", choice={"index": 1}),
        piece("b", choice={"logprobs": {"content": []}}),
        piece("b", choice={"delta": {"content": "b", "reasoning_content": "hm"}}),
        piece(None, choice={"delta": {"tool_calls": []}}),
        piece("b", usage={"total_tokens": 1}),
        b'data: {"id": "1", "choices": []}',
        b": a comment",
        b"event: error\ndata: {}",
        b"data: [DONE]",
        b"data: not json",
    ],
)
def test_a_message_that_says_anything_else_is_passed_on_as_it_is_and_in_its_place(other: bytes) -> None:
    stream = join([piece("a"), piece("a"), other, piece("c"), piece("c")])
    first, middle, last, rest = stream.split(b"\n\n")
    assert texts(first) == ["aa"] and texts(last) == ["cc"] and rest == b""
    assert middle == other or json.loads(middle[6:]) == json.loads(other[6:])


async def test_a_long_reply_arrives_whole_in_fewer_messages() -> None:
    words = " ".join(f"w{number}" for number in range(4 * EAGER_READS))
    with Desk(tokens_per_second=300).on("", words) as desk:
        async with httpx.AsyncClient(event_hooks={"response": [gather]}, trust_env=False) as client:
            body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "go"}]}
            async with client.stream("POST", f"{desk.url}/chat/completions", json=body) as response:
                stream = await response.aread()
    found = [text for text in texts(stream) if text]
    assert "".join(found) == words and len(found) < 3 * EAGER_READS
    assert stream.endswith(b"data: [DONE]\n\n")
