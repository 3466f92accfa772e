"""Chat completions whose chunks stay the mappings they came as.

The client library makes a tree of typed objects of each chunk, of which LangChain makes mappings again: at
fifty replies at once that took a fifth of the one thread there is.
"""

from typing import Any

from openai import AsyncOpenAI, AsyncStream


class Chunks:
    """Stands in for `AsyncOpenAI.chat.completions` in a ChatOpenAI that only streams."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def create(
        self, *, extra_body: dict[str, Any] | None = None, stream: bool, **body: Any
    ) -> AsyncStream[object]:
        """Begin a reply; its chunks are mappings, and an error in their place is raised as an APIError."""
        return await self._client.post(
            "/chat/completions",
            body={**body, "stream": stream},
            options={"extra_json": extra_body} if extra_body else {},
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
        )
