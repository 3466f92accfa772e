"""Projection of a run's log to the protocol's events, in the stream modes of a reader."""

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from langgraph.graph import START

from nodes.dialogue.replies import Unusable, parse_json
from nodes.events import (
    ApprovalRequired,
    ApprovalResolved,
    BudgetUpdated,
    CheckpointSaved,
    ErrorReported,
    Event,
    NodeFinished,
    NodeStarted,
    Retried,
    RunFinished,
    RunStarted,
    Token,
)
from nodes.planning.plan_reply import read_reply
from server.protocol.assistants import ASSISTANT_ID, GRAPH_ID
from server.protocol.state_json import checkpoint_payload

PLANNER = "planner"

MODES = ("values", "updates", "messages", "messages-tuple", "custom", "events", "checkpoints")
UNSERVED_MODES = ("debug", "tasks", "tools", "lifecycle")

ReadState = Callable[[str, str], Awaitable[dict[str, Any]]]
"""Returns the ThreadState of a thread at a checkpoint."""


@dataclass(frozen=True)
class ProtocolEvent:
    """One event of the protocol. `number` counts the events of the log's line `seq`."""

    seq: int
    number: int
    name: str
    data: Any

    @property
    def id(self) -> str:
        """The id that a reader sends to continue after this event."""
        return f"{self.seq}-{self.number}"


def _message(id: str, type: str, text: str, usage: dict[str, int] | None = None) -> dict[str, Any]:
    return {
        "id": id,
        "type": type,
        "content": text,
        "name": None,
        "additional_kwargs": {},
        "response_metadata": {},
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": usage,
    }


def _chunk(id: str, text: str, usage: dict[str, int] | None = None, last: bool = False) -> dict[str, Any]:
    message = _message(id, "AIMessageChunk", text, usage)
    return message | {"tool_call_chunks": [], "chunk_position": "last" if last else None}


def _spoken(node: str | None, text: str) -> str:
    """Return a reply as people read it: the planner writes its answers as JSON."""
    if node == PLANNER:
        with suppress(Unusable):
            reply = read_reply(parse_json(text))
            return reply if isinstance(reply, str) else text
    return text


@dataclass
class LangChainMessages:
    """Converts the model calls of a run. Message ids come from the log, so every replay gives the same.

    A reply of the planner comes as a whole: before its end nobody knows whether it is a plan or an answer.
    """

    run_id: str
    metadata: dict[str, Any]
    _open: dict[tuple[str | None, str | None], tuple[str, str]] = field(default_factory=dict)
    """The id and the text so far of each reply that arrives, by node and step."""

    def add(self, event: Event, as_tuples: bool) -> list[tuple[str, Any]]:
        """Return the protocol's events for one event: chunks with their metadata, or growing messages."""
        if isinstance(event.data, Token):
            return self._grow(event, event.data.text, as_tuples)
        if isinstance(event.data, Retried | RunFinished):
            self._close(event)  # the next attempt is a message of its own
        if not isinstance(event.data, BudgetUpdated | NodeFinished):
            return []
        usage = None
        if isinstance(event.data, BudgetUpdated):
            input, output = event.data.input_tokens, event.data.output_tokens
            usage = {"input_tokens": input, "output_tokens": output, "total_tokens": input + output}
        metadata, messages = self.metadata_of(event), list[tuple[str, Any]]()
        for node, id, text in self._close(event):
            if as_tuples:
                rest = text if node == PLANNER else ""
                messages.append(("messages", [_chunk(id, rest, usage, last=True), metadata]))
                continue
            if node == PLANNER:
                messages.append(("messages/metadata", {id: {"metadata": metadata}}))
            messages.append(("messages/complete", [_message(id, "ai", text, usage)]))
        return messages

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
        new = f"run-{self.run_id}-{event.seq}"
        id, before = self._open.get((event.node, event.step_id), (new, ""))
        self._open[event.node, event.step_id] = id, before + text
        if event.node == PLANNER:
            return []
        metadata = self.metadata_of(event)
        if as_tuples:
            return [("messages", [_chunk(id, text), metadata])]
        first = [("messages/metadata", {id: {"metadata": metadata}})] if id == new else []
        return [*first, ("messages/partial", [_message(id, "ai", before + text)])]

    def _close(self, event: Event) -> list[tuple[str | None, str, str]]:
        """Remove the open messages that an event of a node, of a step, or of the whole run ends.

        Return the node, the id and the text of each.
        """
        ended = [
            (node, step)
            for node, step in self._open
            if event.node in (None, node) and event.step_id in (None, step)
        ]
        closed = ((key[0], *self._open.pop(key)) for key in ended)
        return [(node, id, _spoken(node, text)) for node, id, text in closed]


@dataclass
class Projection:
    """Converts one run's log, from its first line on. Readers that reconnect skip the events they have."""

    thread_id: str
    run_id: str
    modes: Collection[str]
    read_state: ReadState
    _messages: LangChainMessages = field(init=False)
    _starts: int = 0
    _checkpoint: str | None = None
    _interrupts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _error: ErrorReported | None = None

    def __post_init__(self) -> None:
        metadata = {"run_id": self.run_id, "thread_id": self.thread_id}
        metadata |= {"graph_id": GRAPH_ID, "assistant_id": ASSISTANT_ID}
        self._messages = LangChainMessages(self.run_id, metadata)

    async def add(self, event: Event, seen: bool = False) -> list[ProtocolEvent]:
        """Return the protocol's events for one line. If the reader has `seen` it, states are not read."""
        data = event.data
        if isinstance(data, CheckpointSaved):
            events = await self._states(data, seen)
        else:
            events = self._plain(event)
        if "events" in self.modes:
            events += [("events", traced) for traced in _traced(event, self._messages)]
        if "custom" in self.modes and not isinstance(data, Token | CheckpointSaved):
            events.append(("custom", event.model_dump(mode="json")))
        if isinstance(data, RunFinished):
            events += await self._end(data, seen)
        return [ProtocolEvent(event.seq, number, *named) for number, named in enumerate(events)]

    def _plain(self, event: Event) -> list[tuple[str, Any]]:
        events: list[tuple[str, Any]] = []
        match event.data:
            case RunStarted():
                self._starts += 1
                self._error = None
                events.append(("metadata", {"run_id": self.run_id, "attempt": self._starts}))
            case ApprovalRequired() as data:
                self._interrupts[data.id] = {"id": data.id, "value": data.request}
            case ApprovalResolved() as data:
                self._interrupts.pop(data.id, None)
            case ErrorReported() as data:
                self._error = data
        if "messages" in self.modes or "messages-tuple" in self.modes:
            events += self._messages.add(event, "messages-tuple" in self.modes)
        return events

    async def _states(self, data: CheckpointSaved, seen: bool) -> list[tuple[str, Any]]:
        """Return the events at a superstep's end."""
        # A resume names the checkpoint that it starts from again. Its updates were sent before.
        new, self._checkpoint = data.id != self._checkpoint, data.id
        if seen or data.source == "input":
            return []
        events: list[tuple[str, Any]] = []
        if new and data.parent and "updates" in self.modes:
            tasks = (await self.read_state(self.thread_id, data.parent))["tasks"]
            results = [(task["name"], task["result"]) for task in tasks if task["result"] is not None]
            events += [("updates", {node: result}) for node, result in results if node != START]
        if "values" in self.modes or "checkpoints" in self.modes:
            state = await self.read_state(self.thread_id, data.id)
            payloads = {"values": state["values"], "checkpoints": checkpoint_payload(state)}
            events += [(mode, payload) for mode, payload in payloads.items() if mode in self.modes]
        return events

    async def _end(self, end: RunFinished, seen: bool) -> list[tuple[str, Any]]:
        if end.status == "failed":
            kind = self._error.kind if self._error else "failed"
            return [("error", {"error": kind, "message": end.reason or "the run failed"})]
        if end.status != "waiting" or not self._interrupts or seen:
            return []
        interrupts = {"__interrupt__": list(self._interrupts.values())}
        events: list[tuple[str, Any]] = [("updates", interrupts)] if "updates" in self.modes else []
        if "values" in self.modes and self._checkpoint:
            state = await self.read_state(self.thread_id, self._checkpoint)
            events.append(("values", state["values"] | interrupts))
        return events or [("values", interrupts)]  # a reader in any mode must learn of them


def _traced(event: Event, messages: LangChainMessages) -> list[dict[str, Any]]:
    """Return the event in the shape of LangChain's astream_events."""
    payload = event.data.model_dump(mode="json")
    match event.data:
        case CheckpointSaved():
            return []
        case RunStarted():
            kind, data = "on_chain_start", {"input": payload}
        case RunFinished():
            kind, data = "on_chain_end", {"output": payload}
        case NodeStarted():
            kind, data = "on_chain_start", payload
        case NodeFinished():
            kind, data = "on_chain_end", payload
        case Token() as token:
            kind, data = "on_chat_model_stream", {"chunk": {"type": "AIMessageChunk", "content": token.text}}
        case BudgetUpdated():
            kind, data = "on_chat_model_end", payload
        case _:
            kind, data = "on_custom_event", payload
    of_run = isinstance(event.data, RunStarted | RunFinished)
    name = GRAPH_ID if of_run else event.type if kind == "on_custom_event" else event.node
    about = {"tags": [], "metadata": messages.metadata_of(event), "parent_ids": []}
    return [{"event": kind, "name": name, "data": data, "run_id": messages.run_id, **about}]
