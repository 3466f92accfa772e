"""Cassettes: recorded exchanges with models as JSON Lines, found by agent, step and ordinal."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import BaseModel, ValidationError

from memory.records.completions import CallKey, Spent
from memory.validation import faults_of
from nodes.llm.model_settings import ModelError

PIECE = re.compile(r"\s*\S+|\s+$")  # a word with the space before it, as models stream


class Exchange(BaseModel):
    """One line of a cassette. A cost of None is charged as nothing."""

    agent: str
    step: str
    ordinal: int
    prompt_hash: str
    model: str
    messages: list[dict[str, str]]
    reply: str
    usage: Spent = Spent()


class Cassette:
    """A cassette in memory. It may hold several runs. Raises ModelError with file and line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._exchanges: list[Exchange] = []
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"the cassette {path} cannot be read: {error}; check LLM_CASSETTE") from error
        for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028
            try:
                if line.strip():
                    self._exchanges.append(Exchange.model_validate_json(line))
            except ValidationError as error:
                fault = faults_of(error)[0]
                raise ModelError(f"the cassette {path}, line {number}: {fault}") from error

    def find(self, key: CallKey) -> Exchange | None:
        """Return the call's last exchange with the same prompt, else its last one. None if there is none."""
        call = (key.agent, key.step_id, key.ordinal)
        recorded = [each for each in self._exchanges if (each.agent, each.step, each.ordinal) == call]
        same = [exchange for exchange in recorded if exchange.prompt_hash == key.prompt_hash]
        return next(reversed(same or recorded), None)


def record(path: Path, exchange: Mapping[str, Any]) -> None:
    """Append one exchange. Blocks. Raises OSError."""
    line = json.dumps(exchange, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())  # one write, so that lines of parallel runs do not mix
    finally:
        os.close(handle)


class ReplayModel(BaseChatModel):
    """A chat model that answers with one recorded reply, streamed in pieces."""

    exchange: Exchange
    streaming: bool = False
    pieces_per_second: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "replay"

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        for piece in PIECE.findall(self.exchange.reply):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        used = self.exchange.usage
        usage = UsageMetadata(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            total_tokens=used.input_tokens + used.output_tokens,
        )
        metadata = {"finish_reason": "stop", "recorded_cost_usd": used.cost_usd or 0.0}
        last = AIMessageChunk(content="", usage_metadata=usage, response_metadata=metadata)
        yield ChatGenerationChunk(message=last)

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks():
            # A sleep of 0 lets other tasks run, as a real stream would.
            await asyncio.sleep(1 / self.pieces_per_second if self.pieces_per_second else 0)
            yield chunk

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return generate_from_stream(self._chunks())
