"""Prices of models from LiteLLM's price map, read as data because importing LiteLLM takes seconds."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PRICE_MAP = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True)
class Price:
    """USD per token. `cached_input` is for prompt tokens that the provider had in its cache."""

    input: float
    output: float
    cached_input: float
    max_output_tokens: int | None = None

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """Return the price of one call. `cached_tokens` are among the input tokens."""
        fresh = max(0, input_tokens - cached_tokens)
        return fresh * self.input + cached_tokens * self.cached_input + output_tokens * self.output


FREE = Price(0.0, 0.0, 0.0)


def price_of(model: str) -> Price | None:
    """Return the price of `model` or `provider/model`, None if the map does not have it."""
    provider, _, name = model.rpartition("/")
    entry = _price_map().get(model)
    if entry is None and provider:
        entry = _price_map().get(name)
        # The map lists a provider's own models without its name.
        if entry and entry.get("litellm_provider") != provider:
            return None
    if not entry or "input_cost_per_token" not in entry:
        return None
    price, longest = entry["input_cost_per_token"], entry.get("max_output_tokens")  # some entries hold text
    return Price(
        input=price,
        output=entry.get("output_cost_per_token", 0.0),
        cached_input=entry.get("cache_read_input_token_cost", price),
        max_output_tokens=int(longest) if isinstance(longest, int | float) else None,
    )


@cache
def _price_map() -> dict[str, dict[str, Any]]:
    spec = find_spec("litellm")
    folders = (spec and spec.submodule_search_locations) or []
    for path in (Path(folder, PRICE_MAP) for folder in folders):
        if path.is_file():
            prices: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
            return prices
    return {}
