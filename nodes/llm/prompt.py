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
from nodes.llm.provider_errors import ProviderError
from nodes.llm.usage import TokenCounts, checked, estimate, total

CHARACTERS_PER_TOKEN, SPARE_CHARACTERS = 32, 10_000
"""The most characters of a reply: so many for each token of its limit, and so many besides."""


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
        return sum(estimate(message["content"]) + 4 for message in self.wire)  # 4 for the frame of a message


class ReplyListener(BaseCallbackHandler):
    """Collects the text and the token counts of one reply while it streams, so that a broken one counts."""

    run_inline = True  # else LangChain runs callbacks in a thread, and the last pieces may come too late
    raise_error = True  # else LangChain logs the error of a reply that does not stop, and reads on

    def __init__(self, prompt: Prompt, price: Price | None, window: int | None, limit: int) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._reports: list[TokenCounts] = []
        self._prompt, self._price, self._window, self._limit = prompt, price, window, limit
        self._start = time.monotonic()

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        """Receive a piece of text, or of content blocks, from LangChain. Raises ProviderError."""
        piece = token if isinstance(token, str) else json.dumps(token)
        self._pieces.append(piece)
        self._size += len(piece)
        message = getattr(chunk, "message", None)
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
            cost = self._price.cost(used.input, used.output, used.cached)
        return Spent(used.input, used.output, cost, time.monotonic() - self._start, used.estimated)
