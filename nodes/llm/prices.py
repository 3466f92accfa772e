"""Prices and contexts of models, from MODEL_PRICES and from LiteLLM's map.

The map is read as data, because importing LiteLLM takes seconds.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from memory.validation import faults_of

PRICE_MAP = "model_prices_and_context_window_backup.json"


DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")
"""The date of a version at the end of a model's name."""

MILLION = 1_000_000

Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


@dataclass(frozen=True)
class Price:
    """USD per token. `cached_input` is for prompt tokens that the provider had in its cache.

    `written_input` is for those that it puts there, which cost as much as others if it is None.
    """

    input: float
    output: float
    cached_input: float
    written_input: float | None = None

    @property
    def most_input(self) -> float:
        """The most that a token of a prompt costs."""
        return max(self.input, self.written_input or 0.0)

    def cost(
        self, input_tokens: int, output_tokens: int, cached_tokens: int = 0, written_tokens: int = 0
    ) -> float:
        """Return the price of one call. Cached and written tokens are among the input tokens."""
        fresh = max(0, input_tokens - cached_tokens - written_tokens)
        written = self.input if self.written_input is None else self.written_input
        cost = fresh * self.input + cached_tokens * self.cached_input + output_tokens * self.output
        return cost + written_tokens * written


FREE = Price(0.0, 0.0, 0.0)
UNLISTED = {"groq/llama-3.3-70b-versatile": Price(0.59 / MILLION, 0.79 / MILLION, 0.59 / MILLION)}
"""Prices of default models that LiteLLM's map has dropped.

Several public price tables of July 2026 list 0.59 and 0.79 USD per million tokens. The provider's own page
was not read.
"""


@dataclass(frozen=True)
class ModelLimits:
    """The most tokens of a model: its context, and a reply. None if unknown."""

    window: int | None = None
    output: int | None = None


class ListedPrice(BaseModel):
    """A price in MODEL_PRICES, in USD per million tokens. Cached tokens cost as much as others if unset."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    input: Dollars
    output: Dollars
    cached: Dollars | None = None

    def per_token(self) -> Price:
        """Return the price of one token."""
        cached = self.input if self.cached is None else self.cached
        return Price(self.input / MILLION, self.output / MILLION, cached / MILLION)


def read_prices(text: str) -> dict[str, Price]:
    """Read MODEL_PRICES: a JSON object, or the path of a file that holds one. Raises ValueError."""
    place, source = "", text
    if not text.lstrip().startswith("{"):
        path = Path(text).expanduser()
        place = f"{path}: "
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(f"neither a JSON object nor a readable file: {error}") from error
    try:
        listed = TypeAdapter(dict[str, ListedPrice]).validate_json(source)
    except ValidationError as error:
        example = '{"model": {"input": 2.5, "output": 10, "cached": 1.25}}'
        faults = "; ".join(faults_of(error))
        raise ValueError(f"{place}{faults}; write {example}, in USD per million tokens") from error
    return {name: price.per_token() for name, price in listed.items()}


def price_of(model: str, listed: Mapping[str, Price] | None = None) -> Price | None:
    """Return the price of `model` or `provider/model`, None if neither `listed` nor the map has it."""
    if listed and (price := listed.get(model) or listed.get(model.rpartition("/")[2])):
        return price
    if model in UNLISTED:
        return UNLISTED[model]
    entry = _entry(model)
    input, output = _number(entry, "input_cost_per_token"), _number(entry, "output_cost_per_token")
    if input is None:
        return None
    cached = _number(entry, "cache_read_input_token_cost")
    written = _number(entry, "cache_creation_input_token_cost") or None  # 0 means that it is not billed apart
    return Price(input, output or 0.0, input if cached is None else cached, written)


def limits_of(model: str) -> ModelLimits:
    """Return what the map knows of a model's limits."""
    entry = _entry(model)
    window, output = _number(entry, "max_input_tokens"), _number(entry, "max_output_tokens")
    return ModelLimits(int(window) if window else None, int(output) if output else None)


def supports_tools(model: str) -> bool:
    """Return False if the map says that a model calls no tools. Blocks to read the map."""
    return _entry(model).get("supports_function_calling") is not False


def listed_models(providers: Sequence[str]) -> list[str]:
    """Return the chat models of providers that call tools, by name. Blocks to read the map.

    Fine-tuned models and dated versions of a model that has a name without a date are left out.
    """
    names = set()
    for name, entry in _price_map().items():
        provider = str(entry.get("litellm_provider"))
        is_agent = entry.get("mode") == "chat" and entry.get("supports_function_calling")
        if provider not in providers or not is_agent or name.startswith("ft:"):
            continue
        undated = DATE.sub("", name)
        if undated == name or undated not in _price_map():
            names.add(name if provider in ("openai", name.partition("/")[0]) else f"{provider}/{name}")
    return sorted(names)


def _entry(model: str) -> Mapping[str, Any]:
    """Return the map's entry of a model, an empty one if there is none."""
    provider, _, name = model.rpartition("/")
    entry = _price_map().get(model)
    if entry is None and provider:
        entry = _price_map().get(name)
        # The map lists a provider's own models without its name.
        if entry and entry.get("litellm_provider") != provider:
            return {}
    return entry or {}


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    return value if isinstance(value, int | float) else None  # some entries hold text


@cache
def _price_map() -> dict[str, dict[str, Any]]:
    spec = find_spec("litellm")
    folders = (spec and spec.submodule_search_locations) or []
    for path in (Path(folder, PRICE_MAP) for folder in folders):
        if path.is_file():
            prices: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
            return prices
    return {}
