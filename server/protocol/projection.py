"""From the log to the protocol: what each line of a run's log stands for, in the stream modes asked for."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from langgraph.graph import START

from nodes.events import (
    ApprovalRequired,
    ApprovalResolved,
    BudgetUpdated,
    CheckpointSaved,
    ErrorReported,
    Event,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
    Token,
)
from server.protocol.assistants import ASSISTANT_ID, GRAPH_ID
from server.protocol.messages import Messages
from server.protocol.states import States

MODES = ("values", "updates", "messages", "messages-tuple", "custom", "events", "checkpoints")
UNSERVED_MODES = ("debug", "tasks", "tools", "lifecycle")


@dataclass(frozen=True)
class Part:
    """One event of the protocol; `number` counts within the log's line `seq`."""

    seq: int
    number: int
    event: str
    data: Any

    @property
    def id(self) -> str:
        """What a reader names to go on after this part."""
        return f"{self.seq}-{self.number}"


@dataclass
class Projection:
    """Folds one run's log, from its first line; whoever reconnects drops the parts that were seen."""

    thread_id: str
    run_id: str
    modes: Collection[str]
    states: States
    _messages: Messages = field(init=False)
    _starts: int = 0
    _checkpoint: str | None = None
    _asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    _fault: ErrorReported | None = None

    def __post_init__(self) -> None:
        about = {
            "run_id": self.run_id,
            "thread_id": self.thread_id,
            "graph_id": GRAPH_ID,
            "assistant_id": ASSISTANT_ID,
        }
        self._messages = Messages(self.run_id, about)

    async def take(self, event: Event, seen: bool = False) -> list[Part]:
        """The parts of one line; of a line that the reader has `seen`, only what later ones need is kept."""
        data = event.data
        told = (
            await self._checkpointed(data, seen) if isinstance(data, CheckpointSaved) else self._told(event)
        )
        if "events" in self.modes:
            told += [("events", one) for one in _traced(event, self._messages)]
        if "custom" in self.modes and not isinstance(data, Token | CheckpointSaved):
            told.append(("custom", event.model_dump(mode="json")))
        if isinstance(data, RunFinished):
            told += await self._ended(data, seen)
        return [Part(event.seq, number, name, data) for number, (name, data) in enumerate(told)]

    def _told(self, event: Event) -> list[tuple[str, Any]]:
        told: list[tuple[str, Any]] = []
        if isinstance(event.data, RunStarted):
            self._starts += 1
            self._fault = None
            told.append(("metadata", {"run_id": self.run_id, "attempt": self._starts}))
        if isinstance(event.data, ApprovalRequired):
            self._asked[event.data.id] = {"id": event.data.id, "value": event.data.request}
        if isinstance(event.data, ApprovalResolved):
            self._asked.pop(event.data.id, None)
        if isinstance(event.data, ErrorReported):
            self._fault = event.data
        if "messages" in self.modes or "messages-tuple" in self.modes:
            told += self._messages.take(event, "messages-tuple" in self.modes)
        return told

    async def _checkpointed(self, data: CheckpointSaved, seen: bool) -> list[tuple[str, Any]]:
        """A superstep's end; a resume names the checkpoint it starts from once more, without its updates."""
        new, self._checkpoint = data.id != self._checkpoint, data.id
        if seen or data.source == "input":
            return []
        told = list[tuple[str, Any]]()
        if new and data.parent and "updates" in self.modes:
            results = await self.states.updates(self.thread_id, data.parent)
            told += [("updates", {node: result}) for node, result in results if node != START]
        if "values" in self.modes:
            told.append(("values", await self.states.values(self.thread_id, data.id)))
        if "checkpoints" in self.modes:
            told.append(("checkpoints", await self.states.payload(self.thread_id, data.id)))
        return told

    async def _ended(self, end: RunFinished, seen: bool) -> list[tuple[str, Any]]:
        if end.status == "failed":
            kind = self._fault.kind if self._fault else "failed"
            return [("error", {"error": kind, "message": end.reason or "the run failed"})]
        if end.status != "waiting" or not self._asked or seen:
            return []
        asked = {"__interrupt__": list(self._asked.values())}
        told: list[tuple[str, Any]] = [("updates", asked)] if "updates" in self.modes else []
        if "values" in self.modes and self._checkpoint:
            values = await self.states.values(self.thread_id, self._checkpoint)
            told.append(("values", values | asked))
        return told or [("values", asked)]


def _traced(event: Event, messages: Messages) -> list[dict[str, Any]]:
    """The event in the shape of astream_events."""
    about = {"run_id": messages.run_id, "tags": [], "metadata": messages.about(event), "parent_ids": []}
    if isinstance(event.data, RunStarted | RunFinished):
        kind = "on_chain_start" if isinstance(event.data, RunStarted) else "on_chain_end"
        key = "input" if isinstance(event.data, RunStarted) else "output"
        return [{"event": kind, "name": GRAPH_ID, "data": {key: event.data.model_dump(mode="json")}} | about]
    if isinstance(event.data, NodeStarted | NodeFinished):
        kind = "on_chain_start" if isinstance(event.data, NodeStarted) else "on_chain_end"
        return [{"event": kind, "name": event.node, "data": event.data.model_dump(mode="json")} | about]
    if isinstance(event.data, Token):
        chunk = {"type": "AIMessageChunk", "content": event.data.text}
        return [{"event": "on_chat_model_stream", "name": event.node, "data": {"chunk": chunk}} | about]
    if isinstance(event.data, BudgetUpdated):
        return [{"event": "on_chat_model_end", "name": event.node, "data": event.data.model_dump()} | about]
    if isinstance(event.data, CheckpointSaved):
        return []
    data = event.model_dump(mode="json")["data"]
    return [{"event": "on_custom_event", "name": event.type, "data": data} | about]
