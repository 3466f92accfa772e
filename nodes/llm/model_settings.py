"""Settings of models, and the choice of a model for each agent and mode."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nodes.llm.prices import Price, price_of
from nodes.state import Agent, Options

PROVIDERS = {"togetherai": "together_ai", "perplexityai": "perplexity", "cohere": "cohere_chat"}
"""Providers whose keys have other names than they."""

Mode = Literal["litellm", "openai", "deepseek", "local", "replay"]


class ModelError(Exception):
    """No model can answer: no key, no server, or failures after all retries. The message says what to do."""


@dataclass(frozen=True)
class ModelSettings:
    """Model settings, filled in by `graph`.

    `explicit` names the agents, and `default`, whose model the user set. `keys` maps variables to API keys.
    `secrets` are texts that no message may show. `providers` are those of LiteLLM that have a key.
    `chosen` are the models that the options of a run name.
    """

    mode: Mode = "litellm"
    model: str | None = None
    agents: Mapping[Agent, str] = field(default_factory=dict)
    default_model: str = "gpt-4o"
    explicit: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    local_url: str = "http://localhost:11434/v1"
    local_model: str = "deepseek-coder"
    record: Path | None = None
    cassette: Path | None = None
    timeout: float = 120.0
    max_retries: int = 4
    max_output_tokens: int = 8192
    max_wait: float = 300.0
    retry_seconds: float = 1.0
    prices: Mapping[str, Price] = field(default_factory=dict)
    context_tokens: int | None = None
    replay_pieces_per_second: float = 0.0
    providers: frozenset[str] = frozenset()
    chosen: Mapping[Agent, str] = field(default_factory=dict)

    def chosen_by(self, options: Options) -> "ModelSettings":
        """Return the settings with the models that a run's options name."""
        names = {agent: options.models.get(agent) or options.model for agent in self.agents}
        return replace(self, chosen={agent: name for agent, name in names.items() if name})

    def check_chosen(self) -> None:
        """Raise ModelError for a chosen model of another provider than the mode's."""
        for agent, name in self.chosen.items():
            if self.mode in ("openai", "deepseek") and "/" in self._served(name):
                raise ModelError(
                    f"{agent}: LLM_MODE={self.mode} does not reach {name}; choose a model of {self.mode}, or "
                    "set LLM_MODE=litellm for models of all providers"
                )

    def model_of(self, agent: Agent) -> str:
        """Return the model of an agent: the run's, else LLM_MODEL, else its own if the mode serves it."""
        if chosen := self.chosen.get(agent):
            return self._served(chosen)
        if self.model:
            return self._served(self.model)
        return self._in_mode(agent, self.agents.get(agent, self.default_model))

    @property
    def fallback(self) -> str:
        """The model that replaces one that keeps failing."""
        return self._in_mode("default", self.default_model)

    def models(self) -> dict[str, list[str]]:
        """Return the models that a run may call, each with its agents. The fallback's agent is `default`."""
        users: dict[str, list[str]] = {}
        for agent in self.agents:
            users.setdefault(self.model_of(agent), []).append(agent)
        users.setdefault(self.fallback, []).append("default")
        return users

    def unpriced(self) -> dict[str, list[str]]:
        """Return the models whose price is unknown, each with its agents. Blocks to read the price map."""
        if self.mode == "replay":  # a cassette costs nothing
            return {}
        return {name: agents for name, agents in self.models().items() if self.price_of(name) is None}

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model, None if it is unknown. Blocks to read the price map."""
        return price_of(model, self.prices)

    @property
    def only_openai(self) -> bool:
        """Return True if OpenAI hosts every agent's model, and so sees the code in any case."""
        if self.mode == "openai":
            return True
        names = [self.model_of(agent) for agent in self.agents]
        return self.mode == "litellm" and bool(names) and all(provider_of(name) == "openai" for name in names)

    def _in_mode(self, role: str, name: str) -> str:
        """Return `name`, or the mode's own model if `name` is a default of another provider."""
        if self.mode in ("litellm", "replay") or role in self.explicit or provider_of(name) == self.mode:
            return self._served(name)
        own = {"local": self.local_model, "deepseek": "deepseek-chat"}
        return own.get(self.mode) or self._served(self.default_model)

    def _served(self, name: str) -> str:
        """Return the name that the mode's server knows, without the provider that the mode implies."""
        return name.removeprefix(f"{self.mode}/") if self.mode in ("openai", "deepseek") else name


def providers_with_keys(variables: Iterable[str]) -> Iterator[str]:
    """Yield LiteLLM's names of the providers whose keys are among `variables` of the environment."""
    for variable in variables:
        if variable.endswith("_API_KEY"):
            name = variable.removesuffix("_API_KEY").lower()
            yield PROVIDERS.get(name, name)


def price_advice(unpriced: Mapping[str, list[str]]) -> str:
    """Return the sentence that refuses a limit on the cost of models without a price."""
    names = ", ".join(f"{name} ({', '.join(agents)})" for name, agents in unpriced.items())
    example = json.dumps({name: {"input": 0.5, "output": 1.5} for name in unpriced})
    return (
        f"a limit on the cost needs the price of every model, and that of {names} is unknown; set "
        f"MODEL_PRICES to USD per million tokens (0 for a free one), in the form MODEL_PRICES='{example}', "
        "or leave out --budget and MAX_COST_USD"
    )


def provider_of(name: str) -> str:
    """Return the provider of a LiteLLM model name. A bare name is OpenAI's."""
    return name.partition("/")[0] if "/" in name else "openai"
