"""Record and replay: a cassette is JSON Lines, one exchange a line, found by agent, step and ordinal."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import BaseModel, ValidationError

PIECE = re.compile(r"\s*\S+|\s+$")


class Usage(BaseModel):
    """What the exchange took when it was recorded; a cost of None is charged as nothing."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    seconds: float = 0.0


class Exchange(BaseModel):
    """One line of a cassette."""

    agent: str
    step: str
    ordinal: int
    prompt_hash: str
    model: str
    messages: list[dict[str, str]]
    reply: str
    usage: Usage = Usage()


class CassetteError(Exception):
    """The cassette cannot be read; the message names file and line."""


class Cassette:
    """A recording, whole in memory; it may hold several runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_call: dict[tuple[str, str, int], list[Exchange]] = {}
        for exchange in _lines(path):
            call = (exchange.agent, exchange.step, exchange.ordinal)
            self._by_call.setdefault(call, []).append(exchange)

    def find(self, agent: str, step: str, ordinal: int, prompt_hash: str) -> Exchange | None:
        """The call's exchange: of several the one with the same prompt, else the last; None past the end."""
        recorded = self._by_call.get((agent, step, ordinal), [])
        same = [exchange for exchange in recorded if exchange.prompt_hash == prompt_hash]
        return next(reversed(same or recorded), None)


def _lines(path: Path) -> Iterator[Exchange]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CassetteError(f"the cassette {path} cannot be read: {error}; mend LLM_CASSETTE") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield Exchange.model_validate_json(line)
            except ValidationError as error:
                why = error.errors()[0]
                where = ".".join(map(str, why["loc"])) or "the line"
                raise CassetteError(f"the cassette {path}, line {number}: {where}: {why['msg']}") from error


def record(path: Path, exchange: Mapping[str, Any]) -> None:
    """Append one exchange in a single write, so that runs may share the file. Blocks; raises OSError."""
    line = json.dumps(exchange, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


class Replay(BaseChatModel):
    """A chat model that says one recorded reply, streamed in pieces as a provider's would be."""

    exchange: Exchange
    streaming: bool = False
    pieces_per_second: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "replay"

    def _pieces(self) -> Iterator[ChatGenerationChunk]:
        used = self.exchange.usage
        total = used.input_tokens + used.output_tokens
        for piece in PIECE.findall(self.exchange.reply):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        usage = UsageMetadata(
            input_tokens=used.input_tokens, output_tokens=used.output_tokens, total_tokens=total
        )
        end = AIMessageChunk(content="", usage_metadata=usage, response_metadata=self._metadata())
        yield ChatGenerationChunk(message=end)

    def _metadata(self) -> dict[str, Any]:
        return {"finish_reason": "stop", "recorded_cost_usd": self.exchange.usage.cost_usd or 0.0}

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._pieces():
            await asyncio.sleep(1 / self.pieces_per_second if self.pieces_per_second else 0)
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> ChatResult:
        return generate_from_stream(self._pieces())
