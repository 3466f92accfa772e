"""A model's reply as it is stored: text, calls of tools, and what it took."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from memory.secrets import HIDDEN, masked, spellings
from memory.validation import read_json


@dataclass(frozen=True)
class ToolCall:
    """A model's call of a tool. Its result names the call by `id`.

    `unread` is the text of arguments that are no JSON object, and then `arguments` is empty. Such a call must
    not run, and the model is told.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    unread: str | None = None


@dataclass(frozen=True)
class Spent:
    """Usage of one call. `cost_usd` is None if the price is unknown.

    `estimated` is true if the provider did not count the tokens, or not believably. `cached_tokens` are those
    of the input that the provider had in its cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    seconds: float = 0.0
    estimated: bool = False
    cached_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """The parts of a reply that later prompts hold. `cut` is true if it ended at the limit of tokens.

    `reasoning` holds fields of the model's message, such as `reasoning_content`, that some providers demand
    back with the calls that it led to.
    """

    text: str
    cut: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: Mapping[str, Any] = field(default_factory=dict)

    def hidden(self, secrets: Sequence[str]) -> "Answer":
        """Return the reply without known keys, so that no edit writes a key and a resume gets the same."""
        forms = spellings(secrets)
        calls = [
            replace(
                call,
                arguments=masked(call.arguments, forms, HIDDEN),
                unread=masked(call.unread, forms, HIDDEN),
            )
            for call in self.tool_calls
        ]
        text, reasoning = masked(self.text, forms, HIDDEN), masked(self.reasoning, forms, HIDDEN)
        return replace(self, text=text, tool_calls=tuple(calls), reasoning=reasoning)


@dataclass(frozen=True, kw_only=True)
class StoredReply(Answer):
    """A reply that was paid for before, with the usage that Spent describes."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    estimated: bool = False
    cached_tokens: int = 0


def dump_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Return calls as JSON values. `unread` is left out where there is none."""
    return [{name: value for name, value in asdict(call).items() if value is not None} for call in calls]


def load_calls(text: str | None) -> tuple[ToolCall, ...]:
    """Return the calls of a JSON text, which a reply of an older version does not have."""
    return tuple(ToolCall(**call) for call in read_json(text or "[]"))
