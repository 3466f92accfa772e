"""The length of a conversation: old tool results become a line once it is too long."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from nodes.llm.usage import estimate

KEPT = 6
"""Tool results at the end that stay as they are."""

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


def _short(message: BaseMessage) -> BaseMessage:
    text = str(message.text)
    if len(text) <= _SHORT:
        return message
    first = text.partition("\n")[0][:_SHORT]
    note = _NOTE.format(lines=text.count("\n") + 1)
    return message.model_copy(update={"content": f"{first}\n{note}"})
