"""A prompt as it is sent, and a callback that measures the reply."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages

from memory.calls.budget import LEAST_OUTPUT
from memory.calls.reply import Spent
from memory.secrets import HIDDEN, masked, spellings
from nodes.llm.model_settings import ModelError
from nodes.llm.prices import Price
from nodes.llm.provider_errors import ProviderError
from nodes.llm.tool_calls import CallPiece, CallPieces, ToolDefinition
from nodes.llm.usage import TokenCounts, checked, estimate, total

REASONING = ("thinking_blocks", "reasoning_content")
"""Fields of a model's message that some providers demand back, in LangChain's `additional_kwargs`."""

CHARACTERS_PER_TOKEN, SPARE_CHARACTERS = 32, 10_000
"""The most characters of a reply: so many for each token of its limit, and so many besides."""


PROMPT_MARGIN, FRAME_TOKENS = 1.25, 64
"""Tokenizers differ from the estimate by up to this factor, and servers add tokens of their own."""


@dataclass(frozen=True)
class Prompt:
    """The messages of one call, and the tools that the model may call."""

    messages: Sequence[BaseMessage]
    tools: Sequence[ToolDefinition] = ()

    @cached_property
    def wire(self) -> list[dict[str, Any]]:
        """The messages in OpenAI's protocol."""
        wire: list[dict[str, Any]] = convert_to_openai_messages(list(self.messages))
        for message, sent in zip(self.messages, wire, strict=True):
            kept = message.additional_kwargs if isinstance(message, AIMessage) else {}
            sent |= {name: kept[name] for name in REASONING if kept.get(name)}
        return wire

    @cached_property
    def hash(self) -> str:
        """SHA-256 of wire and tools. The model is left out, so a paid reply outlives a change of model."""
        value = [self.wire, list(self.tools)] if self.tools else self.wire
        return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def tokens(self) -> int:
        """An estimate of the prompt's length."""
        texts = sum(estimate(message["content"]) + 4 for message in self.wire)  # 4 for the frame of a message
        parts = [{name: part[name] for name in part.keys() - {"role", "content"}} for part in self.wire]
        return texts + sum(estimate(json.dumps(part)) for part in [*parts, *self.tools] if part)


def hide_keys(messages: Sequence[BaseMessage], secrets: Sequence[str]) -> list[BaseMessage]:
    """Return messages without known keys. No provider gets the key of another one from a repository."""
    forms = spellings(secrets)
    hidden: list[BaseMessage] = []
    for message in messages:
        parts: dict[str, Any] = {"content": message.content, "additional_kwargs": message.additional_kwargs}
        if isinstance(message, AIMessage):
            parts["tool_calls"] = message.tool_calls
        update = {name: masked(part, forms, HIDDEN) for name, part in parts.items()}
        hidden.append(message if update == parts else message.model_copy(update=update))
    return hidden


def without_field(message: BaseMessage, name: str) -> BaseMessage:
    """Return a message without a field of its `additional_kwargs`."""
    if name not in message.additional_kwargs:
        return message
    kept = {key: value for key, value in message.additional_kwargs.items() if key != name}
    return message.model_copy(update={"additional_kwargs": kept})


_SILENT = logging.NullHandler()


class ReplyListener(BaseCallbackHandler):
    """Collects text, tool calls and token counts of a reply while it streams, so that a broken one counts."""

    run_inline = True  # else LangChain runs callbacks in a thread, and the last pieces may come too late
    raise_error = True  # else LangChain logs the error of a reply that does not stop, and reads on

    def __init__(self, prompt: Prompt, price: Price | None, window: int | None, limit: int) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._reports: list[TokenCounts] = []
        self.calls = CallPieces()
        self.thoughts: list[str] = []  # filled by the wire too, as LangChain's client for OpenAI drops them
        self._prompt, self._price, self._window, self._limit = prompt, price, window, limit
        self._start = time.monotonic()
        # LangChain logs what is raised here as well, which would appear on the user's terminal.
        logging.getLogger("langchain_core.callbacks.manager").addHandler(_SILENT)

    @property
    def text(self) -> str:
        """All that the model wrote so far, with its thoughts and the arguments of tool calls."""
        return "".join([*self.thoughts, *self._pieces])

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        """Receive a piece of text, or of content blocks, from LangChain. Raises ProviderError."""
        message = getattr(chunk, "message", None)
        pieces = [token if isinstance(token, str) else json.dumps(token)]
        for part in getattr(message, "tool_call_chunks", ()):
            call = CallPiece.of(part["index"], part["id"], part["name"], part["args"])
            self.calls.add(call)
            pieces += [call.name, call.arguments]
        thought = getattr(message, "additional_kwargs", {}).get("reasoning_content")
        thoughts = [thought] if isinstance(thought, str) else []
        self._pieces += pieces
        self.thoughts += thoughts
        self._size += sum(map(len, [*pieces, *thoughts]))
        if counts := TokenCounts.of(getattr(message, "usage_metadata", None)):
            self._reports.append(counts)
        if self._size > SPARE_CHARACTERS + CHARACTERS_PER_TOKEN * self._limit:
            reason = f"the reply does not stop: {self._size:,} characters for a limit of {self._limit} tokens"
            raise ProviderError(reason, retries=1)

    def spent(self, message: AIMessage | None = None) -> Spent:
        """Return the usage that the provider reported, with estimates for what it did not."""
        used = checked(total(self._reports), self._prompt.tokens, self.text, self._window)
        cost = message.response_metadata.get("recorded_cost_usd") if message else None
        if cost is None and self._price:
            cost = self._price.cost(used.input, used.output, used.cached, used.written)
        seconds = time.monotonic() - self._start
        return Spent(used.input, used.output, cost, seconds, used.estimated, used.cached)


def output_limit(longest: int, window: int | None, estimate: int, counted: int | None, place: str) -> int:
    """Return the tokens that a reply may have: `longest`, or what the prompt leaves of `window`.

    `counted` are the prompt's tokens as the server counted them. Raises ModelError if the prompt itself does
    not fit. `place` opens its message.
    """
    if window is None:
        return longest
    prompt = max(counted or 0, estimate)
    # An exact count needs no margin for another tokenizer.
    room = window - FRAME_TOKENS - (prompt if counted else int(PROMPT_MARGIN * estimate))
    least = min(LEAST_OUTPUT, longest)
    if window - prompt < least:
        raise ModelError(
            f"{place}: the prompt of about {prompt} tokens leaves no room for a reply in the context of "
            f"{window} tokens; set CONTEXT_TOKENS if the context is larger, or choose a model with a larger "
            "one, or name fewer context files"
        )
    return max(least, min(longest, room))
