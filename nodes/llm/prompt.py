"""A prompt as it is sent, and a callback that measures the reply."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages

from memory.records.completions import Spent
from nodes.llm.prices import Price

BYTES_PER_TOKEN = 4
"""The usual estimate, for prompts that no provider has counted yet, and for replies that broke off."""


@dataclass(frozen=True)
class Prompt:
    """The messages of one call."""

    messages: Sequence[BaseMessage]

    @cached_property
    def wire(self) -> list[dict[str, str]]:
        """Roles and contents in OpenAI's protocol."""
        return cast("list[dict[str, str]]", convert_to_openai_messages(list(self.messages)))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the wire. The model is left out, so a paid reply outlives a change of model."""
        return hashlib.sha256(json.dumps(self.wire, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def tokens(self) -> int:
        """An estimate of the prompt's length."""
        return sum(_tokens(message["content"]) + 4 for message in self.wire)  # 4 for the frame of a message


class ReplyListener(BaseCallbackHandler):
    """Collects the text of one reply while it streams, so that a broken reply can be counted."""

    run_inline = True  # else LangChain runs callbacks in a thread, and the last pieces may come too late

    def __init__(self, prompt: Prompt, price: Price | None) -> None:
        self.text = ""
        self._prompt = prompt
        self._price = price
        self._start = time.monotonic()

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        """Receive a piece of text, or of content blocks, from LangChain."""
        self.text += token if isinstance(token, str) else json.dumps(token)

    def spent(self, message: AIMessage | None = None) -> Spent:
        """Return the usage that the provider counted in `message`, else an estimate."""
        used: Any = (message and message.usage_metadata) or {}
        input_tokens = used.get("input_tokens") or self._prompt.tokens
        output_tokens = used.get("output_tokens") or _tokens(self.text)
        cached = used.get("input_token_details", {}).get("cache_read") or 0
        cost = message.response_metadata.get("recorded_cost_usd") if message else None
        if cost is None and self._price:
            cost = self._price.cost(input_tokens, output_tokens, cached)
        return Spent(input_tokens, output_tokens, cost, time.monotonic() - self._start)


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)  # rounds up
