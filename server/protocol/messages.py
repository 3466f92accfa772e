"""Tokens as LangChain's messages: one for each call of a model, in pieces or as it has grown so far."""

from dataclasses import dataclass, field
from typing import Any

from graph.events import Budget, Event, Retry, RunFinished, Token

Origin = tuple[str | None, str | None]


@dataclass
class Message:
    """A model's reply while it arrives."""

    id: str
    text: str = ""
    told: bool = False

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
        origin = (event.node, event.step_id)
        if isinstance(event, Token):
            message = self._open.setdefault(origin, Message(f"run-{self.run_id}-{event.seq}"))
            message.text += event.data.text
            if tuples:
                return [("messages", [message.chunk(event.data.text), self.about(event)])]
            first = (
                [] if message.told else [("messages/metadata", {message.id: {"metadata": self.about(event)}})]
            )
            message.told = True
            return [*first, ("messages/partial", [message.whole()])]
        if isinstance(event, Retry | RunFinished):
            self._open.pop(origin, None)
        if isinstance(event, Budget) and origin in self._open:
            message = self._open.pop(origin)
            read, written = event.data.input_tokens, event.data.output_tokens
            usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
            if tuples:
                return [("messages", [message.chunk("", usage, last=True), self.about(event)])]
            return [("messages/complete", [message.whole(usage)])]
        return []

    def about(self, event: Event) -> dict[str, Any]:
        """The metadata that goes with a message of the event's node."""
        return self.metadata | {
            "langgraph_node": event.node,
            "langgraph_checkpoint_ns": "",
            "checkpoint_ns": "",
            "step_id": event.step_id,
        }
