"""Cassettes: recorded exchanges with models as JSON Lines, found by agent, step and ordinal."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ValidationError

from memory.calls.completions import CallKey
from memory.calls.reply import Spent, ToolCall
from memory.validation import faults_of
from nodes.llm.model_settings import ModelError
from nodes.llm.prices import FREE, ModelLimits
from nodes.llm.providers import PricedModel, Provider
from nodes.llm.tool_calls import ToolDefinition
from nodes.state import Agent

PIECE = re.compile(r"\s*\S+|\s+$")  # a word with the space before it, as models stream


class Exchange(BaseModel):
    """One line of a cassette. A cost of None is charged as nothing."""

    agent: str
    step: str
    ordinal: int
    prompt_hash: str
    model: str
    messages: list[dict[str, Any]]
    reply: str
    usage: Spent = Spent()
    tools: list[ToolDefinition] = []
    tool_calls: list[ToolCall] = []
    reasoning: dict[str, Any] = {}


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

    def has_tools(self, agent: str) -> bool:
        """Return whether the agent was given tools. Tapes from before there were tools hold other prompts."""
        return any(each.tools or each.tool_calls for each in self._exchanges if each.agent == agent)

    def find(self, key: CallKey) -> Exchange | None:
        """Return the call's last exchange with the same prompt, else its last one. None if there is none."""
        call = (key.agent, key.step_id, key.ordinal)
        recorded = [each for each in self._exchanges if (each.agent, each.step, each.ordinal) == call]
        same = [exchange for exchange in recorded if exchange.prompt_hash == key.prompt_hash]
        return next(reversed(same or recorded), None)

    def result(self, key: CallKey, call_id: str) -> str | None:
        """Return what a tool answered to a call, as the step's later exchanges hold it."""
        for exchange in self._exchanges:
            if (exchange.agent, exchange.step) == (key.agent, key.step_id) and exchange.ordinal > key.ordinal:
                for message in exchange.messages:
                    if message.get("role") == "tool" and message.get("tool_call_id") == call_id:
                        return str(message.get("content") or "")
        return None


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
        for index, call in enumerate(self.exchange.tool_calls):
            written = call.unread
            if written is None:
                written = json.dumps(dict(call.arguments), ensure_ascii=False)
            first = tool_call_chunk(name=call.name, args="", id=call.id, index=index)
            rest = [tool_call_chunk(args=piece, index=index) for piece in PIECE.findall(written)]
            for piece in [first, *rest]:
                yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))
        used = self.exchange.usage
        usage = UsageMetadata(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            total_tokens=used.input_tokens + used.output_tokens,
            input_token_details=InputTokenDetails(cache_read=used.cached_tokens),
        )
        end = "tool_calls" if self.exchange.tool_calls else "stop"
        metadata = {"finish_reason": end, "recorded_cost_usd": used.cost_usd or 0.0}
        kept = self.exchange.reasoning
        last = AIMessageChunk(
            content="", usage_metadata=usage, response_metadata=metadata, additional_kwargs=kept
        )
        yield ChatGenerationChunk(message=last)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model as it is bound to tools. It answers the same with and without them."""
        return self.bind(tools=list(tools), **kwargs)

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks():
            # A sleep of 0 lets other tasks run, as a real stream would.
            await asyncio.sleep(1 / self.pieces_per_second if self.pieces_per_second else 0)
            yield chunk

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return generate_from_stream(self._chunks())


class CassetteProvider(Provider):
    """Recorded replies. They are free, except where the cassette records a cost."""

    _cassette: Cassette | None = None

    async def model(self, name: str, key: CallKey) -> PricedModel:
        cassette = await self._loaded()
        exchange = cassette.find(key)
        call = f"{key.agent}'s call {key.ordinal} of step {key.step_id or '-'}"
        if exchange is None:
            raise ModelError(f"the cassette {cassette.path} ends before {call}; record the task again")
        warning = ""
        if exchange.prompt_hash != key.prompt_hash:
            warning = f"the prompt of {call} is not the one that {cassette.path} recorded"
        pace = self._settings.replay_pieces_per_second
        replay = ReplayModel(exchange=exchange, streaming=True, pieces_per_second=pace, cache=False)
        return PricedModel(replay, exchange.model, FREE, ModelLimits(), warning)

    async def calls_tools(self, name: str, agent: str) -> bool:
        return (await self._loaded()).has_tools(agent)

    async def recorded_result(self, key: CallKey, call_id: str) -> str | None:
        return (await self._loaded()).result(key, call_id)

    async def check(self, models: Mapping[Agent, str]) -> None:
        await self._loaded()

    async def _loaded(self) -> Cassette:
        if self._cassette is None:
            if self._settings.cassette is None:
                raise ModelError("LLM_MODE=replay needs a recording: set LLM_CASSETTE to its file")
            self._cassette = await asyncio.to_thread(Cassette, self._settings.cassette)
        return self._cassette
