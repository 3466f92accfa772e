"""What models need of the settings, and which model an agent gets in which mode."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nodes.state import Agent

Mode = Literal["litellm", "openai", "deepseek", "local", "replay"]


class ModelError(Exception):
    """No key, no server, or a provider that failed after retries and fallback; says what to do next."""


@dataclass(frozen=True)
class ModelSettings:
    """Values that the graph fills in. `explicit` names the agents, and `default`, whose model the user set.

    `keys` are API keys by the variable that holds them; `secrets` are texts that no message may show.
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
    retry_seconds: float = 1.0
    replay_pieces_per_second: float = 0.0

    def model_of(self, agent: Agent) -> str:
        """The model an agent uses: LLM_MODEL above all, else its own where the mode serves it."""
        if self.model:
            return self._served(self.model)
        return self._in_mode(agent, self.agents.get(agent, self.default_model))

    @property
    def fallback(self) -> str:
        """The model that steps in when another keeps failing."""
        return self._in_mode("default", self.default_model)

    @property
    def only_openai(self) -> bool:
        """Whether every agent's model is hosted by OpenAI, so that it sees the code in any case."""
        if self.mode == "openai":
            return True
        names = [self.model_of(agent) for agent in self.agents]
        return self.mode == "litellm" and bool(names) and all(_provider(name) == "openai" for name in names)

    def _in_mode(self, role: str, name: str) -> str:
        """A default that belongs to another provider gives way to the mode's own model."""
        if self.mode in ("litellm", "replay") or role in self.explicit or _provider(name) == self.mode:
            return self._served(name)
        own = {"local": self.local_model, "deepseek": "deepseek-chat"}
        return own.get(self.mode) or self._served(self.default_model)

    def _served(self, name: str) -> str:
        """The name as the mode's server knows it, without the provider that the mode implies."""
        return name.removeprefix(f"{self.mode}/") if self.mode in ("openai", "deepseek") else name


def _provider(name: str) -> str:
    """The provider that a LiteLLM model name belongs to; a bare name is OpenAI's."""
    return name.partition("/")[0] if "/" in name else "openai"
