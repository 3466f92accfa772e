"""Tokens as LangChain's messages: one message for each model call, in chunks or as it has grown so far."""

from dataclasses import dataclass, field
from typing import Any

from nodes.events import BudgetUpdated, Event, NodeFinished, Retried, RunFinished, Token


@dataclass
class PartialMessage:
    """A model's reply while it arrives."""

    id: str
    text: str = ""

    def chunk(self, text: str, usage: dict[str, int] | None = None, last: bool = False) -> dict[str, Any]:
        """Return a piece of it as AIMessageChunk."""
        message = self._message("AIMessageChunk", text, usage)
        return message | {"tool_call_chunks": [], "chunk_position": "last" if last else None}

    def whole(self, usage: dict[str, int] | None = None) -> dict[str, Any]:
        """Return all of it so far as AIMessage."""
        return self._message("ai", self.text, usage)

    def _message(self, type: str, text: str, usage: dict[str, int] | None) -> dict[str, Any]:
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
class LangChainMessages:
    """Converts the model calls of a run. Message ids come from the log, so every replay gives the same."""

    run_id: str
    metadata: dict[str, Any]
    _open: dict[tuple[str | None, str | None], PartialMessage] = field(default_factory=dict)

    def add(self, event: Event, as_tuples: bool) -> list[tuple[str, Any]]:
        """Return the protocol's events for one event: chunks with their metadata, or growing messages."""
        if isinstance(event.data, Token):
            return self._grow(event, event.data.text, as_tuples)
        if isinstance(event.data, Retried | RunFinished):
            self._close(event)  # the next attempt is a message of its own
        if not isinstance(event.data, BudgetUpdated | NodeFinished):
            return []
        usage = _usage(event.data) if isinstance(event.data, BudgetUpdated) else None
        closed = self._close(event)
        if as_tuples:
            metadata = self.metadata_of(event)
            return [("messages", [message.chunk("", usage, last=True), metadata]) for message in closed]
        return [("messages/complete", [message.whole(usage)]) for message in closed]

    def metadata_of(self, event: Event) -> dict[str, Any]:
        """Return the metadata for a message of the event's node."""
        return self.metadata | {
            "langgraph_node": event.node,
            "langgraph_checkpoint_ns": "",
            "checkpoint_ns": "",
            "step_id": event.step_id,
        }

    def _grow(self, event: Event, text: str, as_tuples: bool) -> list[tuple[str, Any]]:
        # The seq of the first token names the message, so an id is stable across replays.
        new = PartialMessage(f"run-{self.run_id}-{event.seq}")
        message = self._open.setdefault((event.node, event.step_id), new)
        message.text += text
        metadata = self.metadata_of(event)
        if as_tuples:
            return [("messages", [message.chunk(text), metadata])]
        first = [("messages/metadata", {message.id: {"metadata": metadata}})] if message is new else []
        return [*first, ("messages/partial", [message.whole()])]

    def _close(self, event: Event) -> list[PartialMessage]:
        """Remove the open messages that an event of a node, of a step, or of the whole run ends."""
        ended = [
            (node, step)
            for node, step in self._open
            if event.node in (None, node) and event.step_id in (None, step)
        ]
        return [self._open.pop(key) for key in ended]


def _usage(budget: BudgetUpdated) -> dict[str, int]:
    input, output = budget.input_tokens, budget.output_tokens
    return {"input_tokens": input, "output_tokens": output, "total_tokens": input + output}
