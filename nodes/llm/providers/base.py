"""The interface of providers, and what those with a client library share."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from memory.calls.completions import CallKey
from nodes.llm.model_settings import ModelSettings
from nodes.llm.prices import ModelLimits, Price, limits_of, supports_tools
from nodes.llm.prompt import Prompt
from nodes.state import Agent


@dataclass(frozen=True)
class PricedModel:
    """A chat model, its price, None if unknown, and its limits. `warning` is text for the user."""

    chat: BaseChatModel
    name: str
    price: Price | None
    limits: ModelLimits
    warning: str = ""


class Provider(ABC):
    """The chat models of one mode."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings

    @abstractmethod
    async def model(self, name: str, key: CallKey) -> PricedModel:
        """Return the chat model for one call. Raises ModelError if there is none."""

    async def calls_tools(self, name: str, agent: str) -> bool:
        """Return False if it is known that a model calls no tools."""
        return await asyncio.to_thread(supports_tools, name)  # the first reads a large file

    async def recorded_result(self, key: CallKey, call_id: str) -> str | None:
        """Return what a tool answered when the call was recorded, None where nothing is replayed."""
        return None

    def messages(self, prompt: Prompt, model: str) -> list[BaseMessage]:
        """Return the messages as the model's provider accepts them."""
        return list(prompt.messages)

    def arguments(self, prompt: Prompt, tokens: int) -> dict[str, Any]:
        """Return the further arguments of a call, which limit its reply to `tokens`."""
        return {"max_tokens": tokens}

    def preload(self) -> None:  # noqa: B027  # optional
        """Import the client library ahead of the first call. Blocks for seconds."""

    async def check(self, models: Mapping[Agent, str]) -> None:  # noqa: B027  # optional
        """Raise ModelError if a provider is unknown or its key is missing. Uses no network."""

    async def probe(self, models: Mapping[Agent, str]) -> None:
        """Raise ModelError if `check` does, or if a server does not answer."""
        await self.check(models)

    async def offered(self) -> list[str]:
        """Return the models that users may choose. Raises ModelError if the server does not list them."""
        return []

    async def aclose(self) -> None:  # noqa: B027  # optional
        """Close connections."""


class LibraryProvider(Provider):
    """A provider with a client library. Each chat model is built once."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._chats: dict[str, BaseChatModel] = {}
        self._building = asyncio.Lock()

    async def model(self, name: str, key: CallKey) -> PricedModel:
        async with self._building:
            if name not in self._chats:  # in a thread, because the first build imports the client library
                self._chats[name] = await asyncio.to_thread(self._build, name)
            price = await asyncio.to_thread(self._settings.price_of, name)  # the first reads a large file
            limits = limits_of(name)
            if self._settings.context_tokens:
                limits = replace(limits, window=self._settings.context_tokens)
            return PricedModel(self._chats[name], name, price, limits)

    @abstractmethod
    def _build(self, name: str) -> BaseChatModel: ...
