"""From LangGraph's stream to drafts of events: tasks become nodes, messages become coalesced tokens."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from nodes.events import ApprovalRequired, CheckpointSaved, NodeFinished, NodeStarted, Token
from nodes.publish import Draft

COALESCE_SECONDS = 0.05

Origin = tuple[str | None, str | None]


@dataclass
class Translator:
    """Follows one stream; tokens that come within COALESCE_SECONDS of the last ones are held and joined."""

    _tokens: dict[Origin, list[str]] = field(default_factory=dict)
    _released: dict[Origin, float] = field(default_factory=dict)
    _running: dict[str, tuple[str, str | None, float]] = field(default_factory=dict)

    def due(self) -> float | None:
        """In how many seconds tokens are to be let go; None where none are held."""
        if not self._tokens:
            return None
        first = min(self._released.get(origin, 0.0) for origin in self._tokens)
        return max(0.0, first + COALESCE_SECONDS - time.monotonic())

    def translate(self, part: Mapping[str, Any]) -> list[Draft]:
        """The drafts that one part of LangGraph's stream (version 2) stands for."""
        kind, data = part["type"], part["data"]
        if kind == "messages":
            return self._message(*data)
        if kind == "custom":
            before = [origin for origin in self._tokens if origin[0] == data.node]
            mine = [origin for origin in before if data.step_id in (None, origin[1])]
            return [*(token for origin in mine for token in self._release(origin)), data]
        if kind == "tasks":
            return self._task(data)
        if kind == "checkpoints" and not part["ns"]:
            return [*self.flush(), Draft(_checkpoint(data))]
        return []

    def flush(self) -> list[Draft]:
        """Every token held back."""
        return [draft for origin in list(self._tokens) for draft in self._release(origin)]

    def _message(self, message: BaseMessage, metadata: Mapping[str, Any]) -> list[Draft]:
        text = message.text
        if not text:
            return []
        origin = (metadata.get("langgraph_node"), metadata.get("step_id"))
        self._tokens.setdefault(origin, []).append(text)
        age = time.monotonic() - self._released.get(origin, 0.0)
        return self._release(origin) if age >= COALESCE_SECONDS else []

    def _task(self, data: Mapping[str, Any]) -> list[Draft]:
        id, node = data["id"], data["name"]
        if "triggers" in data:
            given = data["input"]
            step = given.get("step") if isinstance(given, Mapping) else None
            step_id = step["id"] if isinstance(step, Mapping) else None
            self._running[id] = (node, step_id, time.monotonic())
            return [Draft(NodeStarted(), node, step_id)]
        _, step_id, started = self._running.pop(id, (node, None, time.monotonic()))
        if asked := data.get("interrupts"):
            required = (ApprovalRequired(id=one["id"], request=one["value"]) for one in asked)
            return [*self.flush(), *(Draft(one, node, step_id) for one in required)]
        error = data.get("error")
        seconds = round(time.monotonic() - started, 3)
        ended = NodeFinished(seconds=seconds, error=str(error) if error else None)
        held = [
            draft for origin in list(self._tokens) if origin[0] == node for draft in self._release(origin)
        ]
        return [*held, Draft(ended, node, step_id)]

    def _release(self, origin: Origin) -> list[Draft]:
        pieces = self._tokens.pop(origin, None)
        self._released[origin] = time.monotonic()
        return [Draft(Token(text="".join(pieces)), *origin)] if pieces else []


def _checkpoint(data: Mapping[str, Any]) -> CheckpointSaved:
    parent = data["parent_config"]
    return CheckpointSaved(
        id=data["config"]["configurable"]["checkpoint_id"],
        parent=parent["configurable"]["checkpoint_id"] if parent else None,
        source=data["metadata"]["source"],
        step=data["metadata"]["step"],
        next=list(data["next"]),
    )
