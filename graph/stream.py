"""Translation of LangGraph's stream to events: tasks become nodes, messages become coalesced tokens."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from memory.validation import valid_text
from nodes.events import ApprovalRequired, CheckpointSaved, NodeFinished, NodeStarted, Token
from nodes.publish import Draft

COALESCE_SECONDS = 0.05

_WORD = re.compile(r"[\w+/=.:@%~-]{0,300}", re.ASCII)

TokenSource = tuple[str | None, str | None]
"""Node and step that tokens come from."""


@dataclass
class Translator:
    """Translates one stream. Tokens that come within COALESCE_SECONDS of the last are held and joined.

    The last word is held until it has ended, because the halves of a key would not be recognised as one.

    `done` are the ids of tasks that ended before a resume. LangGraph starts them again in its stream alone.
    """

    done: frozenset[str] = frozenset()
    _tokens: dict[TokenSource, list[str]] = field(default_factory=dict)
    _released: dict[TokenSource, float] = field(default_factory=dict)
    _words: dict[TokenSource, str] = field(default_factory=dict)
    _running: dict[str, tuple[str, str | None, float]] = field(default_factory=dict)

    def due(self) -> float | None:
        """Return the seconds until held tokens are due, or None if there are none."""
        if not self._tokens:
            return None
        first = min(self._released.get(source, 0.0) for source in self._tokens)
        return max(0.0, first + COALESCE_SECONDS - time.monotonic())

    def translate(self, part: Mapping[str, Any]) -> list[Draft]:
        """Return the drafts for one part of LangGraph's stream (version 2)."""
        kind, data = part["type"], part["data"]
        if kind == "messages":
            return self._message(*data)
        if kind == "custom":
            # A step's own tokens come before its event. Those of parallel steps may stay held.
            return [*self.flush(data.node, data.step_id), data]
        if kind == "tasks" and not part["ns"]:  # those of tool calls have events of their own
            return self._task(data)
        if kind == "checkpoints" and not part["ns"]:
            parent = data["parent_config"]
            saved = CheckpointSaved(
                id=data["config"]["configurable"]["checkpoint_id"],
                parent=parent["configurable"]["checkpoint_id"] if parent else None,
                source=data["metadata"]["source"],
                step=data["metadata"]["step"],
                next=list(data["next"]),
            )
            return [*self.flush(), Draft(saved)]
        return []

    def release_due(self) -> list[Draft]:
        """Release the held tokens, without words that may go on."""
        return [draft for source in list(self._tokens) for draft in self._release(source)]

    def flush(self, node: str | None = None, step_id: str | None = None) -> list[Draft]:
        """Release the held tokens: all, or only those of a node or of one of its steps."""
        sources = dict.fromkeys((*self._words, *self._tokens))
        held = [(n, s) for n, s in sources if node in (None, n) and step_id in (None, s)]
        return [draft for source in held for draft in self._release(source, is_end=True)]

    def _message(self, message: BaseMessage, metadata: Mapping[str, Any]) -> list[Draft]:
        text = message.text
        if not text:
            return []
        source = (metadata.get("langgraph_node"), metadata.get("step_id"))
        self._tokens.setdefault(source, []).append(text)
        age = time.monotonic() - self._released.get(source, 0.0)
        return self._release(source) if age >= COALESCE_SECONDS else []

    def _task(self, data: Mapping[str, Any]) -> list[Draft]:
        id, node = data["id"], data["name"]
        if id in self.done:
            return []
        if "triggers" in data:  # LangGraph marks the start of a task by this key alone
            given = data["input"]
            step = given.get("step") if isinstance(given, Mapping) else None
            step_id = step["id"] if isinstance(step, Mapping) else None
            self._running[id] = (node, step_id, time.monotonic())
            return [Draft(NodeStarted(), node, step_id)]
        _, step_id, started = self._running.pop(id, (node, None, time.monotonic()))
        if interrupts := data.get("interrupts"):
            required = [ApprovalRequired(id=one["id"], request=one["value"]) for one in interrupts]
            return [*self.flush(), *(Draft(approval, node, step_id) for approval in required)]
        error = data.get("error")
        seconds = round(time.monotonic() - started, 3)
        ended = NodeFinished(seconds=seconds, error=str(error) if error else None)
        return [*self.flush(node), Draft(ended, node, step_id)]

    def _release(self, source: TokenSource, is_end: bool = False) -> list[Draft]:
        text = self._words.pop(source, "") + "".join(self._tokens.pop(source, ()))
        self._released[source] = time.monotonic()
        if not is_end:
            # From the end on, because a search for `word$` would begin at each word of the text.
            start = len(_WORD.sub("", text[::-1], count=1))
            self._words[source], text = text[start:], text[:start]
        return [Draft(Token(text=valid_text(text)), *source)] if text else []
