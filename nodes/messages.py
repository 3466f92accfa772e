"""A thread as a conversation, for chat front ends: the user's tasks, and what came of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

from typing_extensions import TypedDict

ROLES = {"user": "human", "human": "human", "assistant": "ai", "ai": "ai"}
TASK = "-task"


class Message(TypedDict):
    """One turn, as LangChain's messages look on the wire."""

    type: Literal["human", "ai"]
    content: str
    id: str


def joined(before: Sequence[Message], new: Any) -> list[Message]:
    """The reducer: append messages, and replace those whose ids are known; other kinds are left out."""
    found = {message["id"]: message for message in before}
    for one in new if isinstance(new, list) else [new]:
        if message := _plain(one):
            found[message["id"]] = message
    return list(found.values())


def human(run: str, text: str) -> Message:
    """The task of a run."""
    return Message(type="human", content=text, id=f"{run}{TASK}")


def ai(run: str, what: str, text: str) -> Message:
    """What a run has to say: its `plan`, its `result`."""
    return Message(type="ai", content=text, id=f"{run}-{what}")


def task_of(messages: Any) -> str:
    """The task that a chat front end gave: its last message, if that is a human's and no run took it yet."""
    given = messages if isinstance(messages, list) else [messages]
    last = _plain(given[-1]) if given else None
    taken = last is None or last["type"] != "human" or last["id"].endswith(TASK)
    return "" if taken or last is None else last["content"]


def seen(messages: Any) -> list[Message]:
    """Messages for the record alone: none of them is a task that waits to be taken."""
    found = joined([], messages)
    for message in found:
        if message["type"] == "human" and not message["id"].endswith(TASK):
            message["id"] += TASK
    return found


def _plain(message: Any) -> Message | None:
    """A message from a dict of LangChain's or OpenAI's shape, or from a LangChain object."""
    if not isinstance(message, Mapping):
        message = {name: getattr(message, name, None) for name in ("type", "content", "id")}
    kind = ROLES.get(str(message.get("type") or message.get("role")))
    if kind is None:
        return None
    id = message.get("id")
    text = _text(message.get("content"))
    return Message(type=kind, content=text, id=str(id) if id else str(uuid4()))  # type: ignore[typeddict-item]


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = (part.get("text", "") if isinstance(part, Mapping) else part for part in content)
        return "\n".join(part for part in parts if isinstance(part, str) and part)
    return content if isinstance(content, str) else ""
