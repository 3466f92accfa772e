"""A model's calls of tools as they are stored."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


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


def dump_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Return calls as JSON values. `unread` is left out where there is none."""
    return [{name: value for name, value in asdict(call).items() if value is not None} for call in calls]


def load_calls(text: str | None) -> tuple[ToolCall, ...]:
    """Return the calls of a JSON text, which a reply of an older version does not have."""
    return tuple(ToolCall(**call) for call in json.loads(text or "[]"))
