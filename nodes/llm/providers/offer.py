"""The models that users may choose from, as the server or LiteLLM's map lists them."""

import asyncio
import time
from dataclasses import dataclass, field

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from memory.secrets import masked_tokens
from memory.validation import read_json
from nodes.llm.model_settings import ModelError, ModelSettings, provider_of
from nodes.llm.prices import MILLION, limits_of, supports_tools
from nodes.llm.providers.base import Provider
from nodes.state import ModelName

LIST_SECONDS = 3.0
LIST_BYTES = 1_000_000
MOST_MODELS = 500
FRESH_SECONDS, RETRY_SECONDS = 60.0, 5.0
"""Seconds for which a list, and the failure to get one, are kept."""


class OfferedModel(BaseModel):
    """A model to choose. Prices are USD per million tokens. None means that nobody knows."""

    id: str
    provider: str
    context: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    tools: bool = True


class ModelOffer(BaseModel):
    """The models that users may choose. `problem` says why some are missing."""

    models: list[OfferedModel]
    problem: str = ""


@dataclass
class Offers:
    """Offers of one provider. The last one is kept for a while."""

    settings: ModelSettings
    provider: Provider
    _last: ModelOffer | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def current(self) -> ModelOffer:
        """Return the offer within a few seconds."""
        async with self._asking:
            if self._last is None or time.monotonic() > self._until:
                self._last = await self._ask()
                seconds = RETRY_SECONDS if self._last.problem else FRESH_SECONDS
                self._until = time.monotonic() + seconds
            return self._last

    async def _ask(self) -> ModelOffer:
        names, problem = list[str](), ""
        try:
            names = await self.provider.offered()
        except ModelError as error:
            problem = masked_tokens(str(error), tuple(self.settings.secrets))
        return ModelOffer(models=await asyncio.to_thread(self._models, names), problem=problem)

    def _models(self, names: list[str]) -> list[OfferedModel]:
        own = [name for name in self.settings.models() if self._is_usable(name)]
        return [self._model(name) for name in list(dict.fromkeys([*own, *names]))[:MOST_MODELS]]

    def _is_usable(self, name: str) -> bool:
        """Return False for a configured model of a provider without a key."""
        return self.settings.mode == "local" or self._provider(name) in self.settings.providers

    def _provider(self, name: str) -> str:
        return provider_of(name) if self.settings.mode == "litellm" else self.settings.mode

    def _model(self, name: str) -> OfferedModel:
        price = self.settings.price_of(name)
        return OfferedModel(
            id=name,
            provider=self._provider(name),
            context=self.settings.context_tokens or limits_of(name).window,
            input_price=price and round(price.input * MILLION, 6),
            output_price=price and round(price.output * MILLION, 6),
            tools=self.settings.mode == "local" or supports_tools(name),
        )


async def served_models(url: str) -> list[str]:
    """Return the models that a server lists. Raises ModelError."""
    address = f"{url.rstrip('/')}/models"
    try:
        async with (
            asyncio.timeout(LIST_SECONDS),
            httpx.AsyncClient(headers={"Accept-Encoding": "identity"}) as client,
            client.stream("GET", address) as response,
        ):
            response.raise_for_status()
            body = b""
            async for piece in response.aiter_raw():  # a compressed one might unpack to gigabytes
                body += piece
                if len(body) > LIST_BYTES:
                    raise ValueError("the list is too long")
        listed = read_json(body.decode())["data"]
        return [name for entry in listed[:MOST_MODELS] if (name := _name(entry))]
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ModelError(f"the model server lists no models at {address} ({reason})") from error


def _name(entry: object) -> str:
    """Return the name in a server's entry, empty if it cannot be chosen."""
    try:
        name = TypeAdapter(ModelName).validate_python(entry["id"] if isinstance(entry, dict) else None)
    except (KeyError, ValidationError):
        return ""
    return name if name.isprintable() else ""
