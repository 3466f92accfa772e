"""Tokens as LangChain's messages: one for each call of a model, in pieces or as it has grown so far."""

from dataclasses import dataclass, field
from typing import Any

from nodes.events import BudgetUpdated, Event, NodeFinished, Retried, RunFinished, Token

Origin = tuple[str | None, str | None]


@dataclass
class Message:
    """A model's reply while it arrives."""

    id: str
    text: str = ""

    def chunk(self, text: str, usage: dict[str, int] | None = None, last: bool = False) -> dict[str, Any]:
        """A piece of it, as AIMessageChunk."""
        return self._body("AIMessageChunk", text, usage) | {
            "tool_call_chunks": [],
            "chunk_position": "last" if last else None,
        }

    def whole(self, usage: dict[str, int] | None = None) -> dict[str, Any]:
        """All of it so far, as AIMessage."""
        return self._body("ai", self.text, usage)

    def _body(self, type: str, text: str, usage: dict[str, int] | None) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": type,
            "content": text,
            "name": None,
            "additional_kwargs": {},
            "response_metadata": {},
            "tool_calls": [],
            "invalid_tool_calls": [],
            "usage_metadata": usage,
        }


@dataclass
class Messages:
    """Follows the calls of a run; a message's id comes from the log, so that every replay gives the same."""

    run_id: str
    metadata: dict[str, Any]
    _open: dict[Origin, Message] = field(default_factory=dict)

    def take(self, event: Event, tuples: bool) -> list[tuple[str, Any]]:
        """What the event stands for: pieces with their metadata (`tuples`), or messages as they grow."""
        if isinstance(event.data, Token):
            return self._grow(event, event.data.text, tuples)
        if isinstance(event.data, Retried | RunFinished):
            self._take_out(event)
        if not isinstance(event.data, BudgetUpdated | NodeFinished):
            return []
        usage = _usage(event.data) if isinstance(event.data, BudgetUpdated) else None
        done = self._take_out(event)
        if tuples:
            return [("messages", [one.chunk("", usage, last=True), self.about(event)]) for one in done]
        return [("messages/complete", [one.whole(usage)]) for one in done]

    def _grow(self, event: Event, text: str, tuples: bool) -> list[tuple[str, Any]]:
        new = Message(f"run-{self.run_id}-{event.seq}")
        message = self._open.setdefault((event.node, event.step_id), new)
        message.text += text
        if tuples:
            return [("messages", [message.chunk(text), self.about(event)])]
        told: list[tuple[str, Any]] = [("messages/partial", [message.whole()])]
        if message is new:
            told.insert(0, ("messages/metadata", {message.id: {"metadata": self.about(event)}}))
        return told

    def _take_out(self, event: Event) -> list[Message]:
        """The open messages that an event of a node, of a step, or of the whole run puts an end to."""
        over = [
            origin
            for origin in self._open
            if event.node in (None, origin[0]) and event.step_id in (None, origin[1])
        ]
        return [self._open.pop(origin) for origin in over]

    def about(self, event: Event) -> dict[str, Any]:
        """The metadata that goes with a message of the event's node."""
        return self.metadata | {
            "langgraph_node": event.node,
            "langgraph_checkpoint_ns": "",
            "checkpoint_ns": "",
            "step_id": event.step_id,
        }


def _usage(budget: BudgetUpdated) -> dict[str, int]:
    read, written = budget.input_tokens, budget.output_tokens
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
