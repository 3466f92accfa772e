"""Publishing of events from nodes, on LangGraph's custom stream."""

from collections.abc import Callable
from dataclasses import dataclass, field

from nodes.event_parts import Payload


@dataclass(frozen=True)
class Draft:
    """An event as a node emits it. The log adds its number, thread, run and time."""

    data: Payload
    node: str | None = None
    step_id: str | None = None
    type: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.data.type)  # a field, so that LangGraph's server shows it


Publish = Callable[[Payload], None]
"""Publishes an event of the node that it belongs to."""


def publisher(writer: Callable[[Draft], None], node: str, step_id: str | None = None) -> Publish:
    """Return the Publish of a node, or of one step of it, onto LangGraph's custom stream."""
    return lambda payload: writer(Draft(payload, node, step_id))
