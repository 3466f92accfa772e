"""How nodes tell what happens while it happens: an event's type and data, down LangGraph's custom stream."""

from collections.abc import Callable, Mapping
from typing import Any

from langgraph.types import StreamWriter

Notify = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's type and data; the shapes are those of the event union."""


def notifier(writer: StreamWriter, node: str, step_id: str | None = None) -> Notify:
    """A Notify for the events of `node`, and of one step of it."""

    def notify(type: str, data: Mapping[str, Any]) -> None:
        writer({"type": type, "node": node, "step_id": step_id, "data": dict(data)})

    return notify
