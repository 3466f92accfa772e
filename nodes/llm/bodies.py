"""Bodies of responses that end where the server does not."""

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx

from nodes.llm.provider_errors import ProviderError

PIECE_BYTES = 1_000_000
"""Bytes that a compressed reply is unpacked to at once."""


@dataclass
class BoundedBody(httpx.AsyncByteStream):
    """A body that ends after `limit` bytes."""

    raw: httpx.AsyncByteStream
    limit: int

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.limit
        async for data in self.raw:
            yield data[:left]
            left -= len(data)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self.raw.aclose()


@dataclass
class InflatedBody(httpx.AsyncByteStream):
    """A compressed body in pieces of limited size, because a few bytes may stand for gigabytes."""

    raw: httpx.AsyncByteStream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip and zlib
        try:
            async for data in self.raw:
                while data:
                    yield decoder.decompress(data, PIECE_BYTES)
                    data = decoder.unconsumed_tail
        except zlib.error as error:
            raise ProviderError("the server's compressed reply is broken") from error

    async def aclose(self) -> None:
        await self.raw.aclose()
