"""A thread as a conversation for chat front ends: the user's tasks and their results."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

from typing_extensions import TypedDict

ROLES = {"user": "human", "human": "human", "assistant": "ai", "ai": "ai"}
TASK = "-task"
"""The end of the id of a message whose task a run has taken."""


class Message(TypedDict):
    """A message in the JSON shape of LangChain."""

    type: Literal["human", "ai"]
    content: str
    id: str


class Turn(TypedDict):
    """An earlier task of a thread, as later agents read it.

    `end` says what became of it, `words` what its last agent said. `change` is its diff, kept for the newest
    turn alone. `delivered` is true if the next task begins with this change.
    """

    run: str
    task: str
    notes: list[str]
    plan: str
    refusals: list[str]
    end: str
    words: str
    files: list[str]
    change: str
    delivered: bool


def add_messages(before: Sequence[Message], new: Any) -> list[Message]:
    """Append messages and replace those with a known id. Only human and AI messages are kept."""
    # LangGraph's own reducer makes message objects, which checkpoints would store by module and class.
    by_id = {message["id"]: message for message in before}
    for item in new if isinstance(new, list) else [new]:
        if message := _plain(item):
            by_id[message["id"]] = message
    return list(by_id.values())


def human(run: str, text: str) -> Message:
    """Return the message for a run's task."""
    return Message(type="human", content=text, id=f"{run}{TASK}")


def ai(run: str, what: str, text: str) -> Message:
    """Return a message of a run: `what` is `plan` or `result`."""
    return Message(type="ai", content=text, id=f"{run}-{what}")


def task_of(messages: Any) -> str:
    """Return the text of the last message if it is a human's and no run has taken it, else nothing."""
    items = messages if isinstance(messages, list) else [messages]
    last = _plain(items[-1]) if items else None
    if last is None or last["type"] != "human" or last["id"].endswith(TASK):
        return ""
    return last["content"]


def as_taken(messages: Any) -> list[Message]:
    """Return the messages as a record, without a task for a run to take."""
    record = add_messages([], messages)
    for message in record:
        if message["type"] == "human" and not message["id"].endswith(TASK):
            message["id"] += TASK
    return record


def _plain(message: Any) -> Message | None:
    """Convert a LangChain message, or a dict in the shape of LangChain or OpenAI."""
    if not isinstance(message, Mapping):
        message = {name: getattr(message, name, None) for name in ("type", "content", "id")}
    kind = ROLES.get(str(message.get("type") or message.get("role")))
    if kind is None:
        return None
    id = message.get("id")  # clients may leave it out
    text = _text(message.get("content"))
    return Message(type=kind, content=text, id=str(id) if id else str(uuid4()))  # type: ignore[typeddict-item]


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = (part.get("text", "") if isinstance(part, Mapping) else part for part in content)
        return "\n".join(part for part in parts if isinstance(part, str) and part)
    return content if isinstance(content, str) else ""
