"""Streams of model servers that would fill the memory."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from nodes.llm.provider_errors import ProviderError
from nodes.llm.wire import ERROR_BYTES, regularize

CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\n'

# A frame of unknown size with 2,000 blocks that repeat a zero 131,072 times, the last of which says so.
ZSTD_BOMB = bytes.fromhex("28b52ffd0058") + 1999 * bytes.fromhex("02001000") + bytes.fromhex("03001000")


class Body(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 10_000):
            yield self.data[start : start + 10_000]


async def answer(data: bytes, encoding: str, status: int = 200) -> bytes:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-encoding": encoding}, stream=Body(data))

    hooks = {"response": [regularize]}
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle), event_hooks=hooks) as client:
        response = await client.post("http://server/v1/chat/completions", json={"max_tokens": 10})
        return response.content


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_a_reply_is_read_even_if_the_server_compresses_it(encoding: str) -> None:
    packed = {"identity": CHUNK, "gzip": gzipped(CHUNK), "deflate": zlib.compress(CHUNK)}[encoding]
    first = (await answer(packed, encoding)).split(b"\n\n")[0]
    assert json.loads(first.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == "hi"


async def test_a_small_body_that_unpacks_to_a_large_one_is_given_up() -> None:
    with pytest.raises(ProviderError, match="does not stop"):
        await answer(gzipped(b"\0" * 50_000_000), "gzip")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_an_error_that_unpacks_to_gigabytes_is_cut(encoding: str) -> None:
    bomb = gzipped(b"x" * 50_000_000) if encoding == "gzip" else ZSTD_BOMB
    assert len(await answer(bomb, encoding, 500)) <= ERROR_BYTES


@pytest.mark.parametrize(("data", "encoding"), [(b"no gzip", "gzip"), (CHUNK, "br")])
async def test_a_body_that_cannot_be_unpacked_is_an_error_of_the_provider(data: bytes, encoding: str) -> None:
    with pytest.raises(ProviderError, match=r"compressed|identity"):
        await answer(data, encoding)


async def test_pieces_that_come_together_leave_time_for_others() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(take_turns())
    assert (await answer(CHUNK * 100, "identity")).count(b'"hi"') == 100
    others.cancel()
    assert turns > 90
