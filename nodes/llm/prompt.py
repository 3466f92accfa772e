"""A prompt as it is sent, hashed and counted, and the listener that counts what comes back."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage

from memory.records.completions import Spent
from nodes.llm.prices import Price

BYTES_PER_TOKEN = 4
"""The usual rule of thumb, for prompts until the provider has counted, and for replies that broke off."""

ROLES = {"human": "user", "ai": "assistant"}


@dataclass(frozen=True)
class Prompt:
    """The messages of one call."""

    messages: Sequence[BaseMessage]

    @cached_property
    def wire(self) -> list[dict[str, str]]:
        """Roles and contents, as OpenAI's protocol names them."""
        return [
            {"role": ROLES.get(message.type, message.type), "content": str(message.text)}
            for message in self.messages
        ]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the wire. The model stays out: a reply that was paid for outlives a change of model."""
        return hashlib.sha256(json.dumps(self.wire, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def tokens(self) -> int:
        """An estimate of the prompt's length."""
        return sum(_tokens(message["content"]) + 4 for message in self.wire)


class Listener(BaseCallbackHandler):
    """Hears one reply arrive, so that what came of a broken one can be counted."""

    run_inline = True

    def __init__(self, prompt: Prompt, price: Price | None) -> None:
        self.text = ""
        self._prompt = prompt
        self._price = price
        self._began = time.monotonic()

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        """LangChain's callback for a piece of text, or of blocks."""
        self.text += token if isinstance(token, str) else json.dumps(token)

    def spent(self, message: AIMessage | None = None) -> Spent:
        """What the call took: as the provider counted in `message`, else by estimate."""
        used: Any = (message and message.usage_metadata) or {}
        taken = used.get("input_tokens") or self._prompt.tokens
        given = used.get("output_tokens") or _tokens(self.text)
        cached = used.get("input_token_details", {}).get("cache_read") or 0
        cost = self._price.cost(taken, given, cached) if self._price else None
        recorded = message.response_metadata.get("recorded_cost_usd") if message else None
        return Spent(taken, given, cost if recorded is None else recorded, time.monotonic() - self._began)


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
