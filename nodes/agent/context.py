"""The length of a conversation: old tool results become a line once it is too long."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)

from nodes.llm.prompt import Prompt
from nodes.llm.usage import estimate

KEPT = 6
"""Tool results at the end that stay as they are."""

MOST_STORED = 64_000
"""Tokens of a conversation in the state, of which every later checkpoint holds a copy."""

_SHORT = 300  # characters of a result that is not worth shortening
_NOTE = "(shortened: {lines} lines; call the tool again to see them)"


def shortened(messages: Sequence[BaseMessage], most: int | None) -> list[BaseMessage]:
    """Return the messages, with all but the last results shortened if they hold over `most` tokens.

    They are shortened at once rather than one by one, so that the beginning changes seldom, and providers
    find it in their caches.
    """
    if most is None or sum(estimate(str(message.text)) for message in messages) <= most:
        return list(messages)
    results = [place for place, message in enumerate(messages) if isinstance(message, ToolMessage)]
    # The model has not seen the results of its last reply yet.
    unseen = max(
        (place for place, message in enumerate(messages) if isinstance(message, AIMessage)), default=0
    )
    old = {place for place in results[:-KEPT] if place < unseen}
    return [_short(message) if place in old else message for place, message in enumerate(messages)]


def as_values(messages: Sequence[BaseMessage], room: int) -> list[dict[str, Any]]:
    """Return a conversation as plain values, none if it is too long to go on within `room` tokens."""
    most = min(room // 2, MOST_STORED)
    kept = shortened(messages, most)
    return messages_to_dict(kept) if Prompt(kept).tokens <= most else []


def from_values(values: Sequence[dict[str, Any]], room: int) -> list[BaseMessage]:
    """Return a conversation that was stored, none if it is too long to go on within `room` tokens."""
    messages = messages_from_dict(list(values))
    return messages if Prompt(messages).tokens <= room // 2 else []


def _short(message: BaseMessage) -> BaseMessage:
    text = str(message.text)
    if len(text) <= _SHORT:
        return message
    first = text.partition("\n")[0][:_SHORT]
    note = _NOTE.format(lines=text.count("\n") + 1)
    return message.model_copy(update={"content": f"{first}\n{note}"})
