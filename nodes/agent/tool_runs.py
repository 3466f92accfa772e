"""The tool calls of one step: each is run once, stored, published, and told to the model."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from langchain_core.messages import BaseMessage, ToolMessage

from memory.calls.reply import ToolCall
from memory.calls.tool_calls import StoredResult, ToolCallKey
from memory.validation import valid_text
from nodes.agent.shown import brief, call_line
from nodes.agent.tool_graph import make_visibly
from nodes.agent.workbench import ToolOutcome, Workbench, arguments_json
from nodes.dialogue.prompts import indent_steps
from nodes.event_parts import COMMAND
from nodes.events import SandboxStarted, ToolCalled
from nodes.llm.call import Call, Reply
from nodes.llm.models import Models
from nodes.llm.tool_calls import ToolDefinition
from nodes.publish import Publish
from nodes.state import Agent

ANNOUNCED = 3
"""Steps before the last one at which the model is told how many are left."""

MOST_AT_ONCE = 16
"""Calls of one reply that are run."""

WARM_AFTER = 0.2
"""Seconds of a model's silence after which a session is opened ahead of the first call."""

ANNOUNCED_AFTER = 2.0
"""Seconds that a command runs before people are told of it."""

_AGAIN = "(the same result as before)\n[You have made this call before. Do something else, or answer.]"
_LEFT = "[{left} more times you can call tools. Then answer.]"


class ToolStore(Protocol):
    """Keeps the results of tool calls."""

    async def lookup(self, key: ToolCallKey) -> StoredResult | None: ...

    async def store(self, key: ToolCallKey, result: StoredResult) -> None: ...


@dataclass
class ToolRuns:
    """Runs the calls of an agent's replies on its workbench. `most` replies may hold calls."""

    models: Models
    bench: Workbench
    store: ToolStore
    definitions: Sequence[ToolDefinition]
    run_id: str
    agent: Agent
    step: str
    most: int
    steps: int = 0
    calls: list[str] = field(default_factory=list, init=False)
    """Each call and its result in a line."""
    _seen: Counter[tuple[str, str, str, str]] = field(default_factory=Counter, init=False)
    _repeats: bool = field(default=False, init=False)

    @property
    def is_over(self) -> bool:
        """True if no reply may call a tool any more."""
        return bool(self.end)

    @property
    def end(self) -> str:
        """The reason why no reply may call a tool any more, empty if one may."""
        if self._repeats:
            return "You have made the same call three times, with the same result"
        return f"You have called tools {self.steps} times" if self.steps >= self.most else ""

    def forget(self) -> None:
        """Let calls be repeated whose results the model does not see any more."""
        self._seen.clear()

    async def run(self, reply: Reply, ordinal: int, publish: Publish) -> list[BaseMessage]:
        """Run the calls of the `ordinal`th reply. Return the messages that tell the model of them."""
        self.steps += 1
        told: list[BaseMessage] = [reply.message]
        for position, call in enumerate(reply.tool_calls):
            key = ToolCallKey(
                self.run_id,
                self.agent,
                self.step,
                ordinal,
                position,
                call.name,
                arguments_json(call.unread if call.unread is not None else dict(call.arguments)),
            )
            make = partial(self._result, key, call, publish)
            result = await make_visibly(call.name, dict(call.arguments), make)
            self.calls.append(call_line(call.name, call.arguments, brief(result.result, result.exit_code)))
            text = self._remarked(key, result.result)
            told.append(ToolMessage(content=indent_steps(text), tool_call_id=call.id, name=call.name))
        left = self.most - self.steps
        if 0 < left <= ANNOUNCED and not self._repeats:
            last = told[-1]
            told[-1] = last.model_copy(update={"content": f"{last.text}\n{_LEFT.format(left=left)}"})
        return [await self._as_recorded(message, ordinal) for message in told]

    async def _as_recorded(self, message: BaseMessage, ordinal: int) -> BaseMessage:
        """Return a result as a replayed model saw it. The call ran all the same, for the files."""
        if not isinstance(message, ToolMessage):
            return message
        call = Call(self.run_id, self.agent, self.step, ordinal)
        text = await self.models.recorded_result(call, message.tool_call_id)
        return message if text is None else message.model_copy(update={"content": text})

    async def _result(self, key: ToolCallKey, call: ToolCall, publish: Publish) -> StoredResult:
        """Return the stored result of a call, or make it."""
        if stored := await self.store.lookup(key):
            await self.bench.resume(stored.snapshot)
            return stored
        began = time.monotonic()
        announcing = asyncio.create_task(self._announce(call, publish))
        try:
            outcome = await self._call(call, key.position)
        finally:
            announcing.cancel()
        seconds = round(time.monotonic() - began, 3)
        text = valid_text(outcome.text)
        result = StoredResult(text, self.bench.snapshot, outcome.exit_code, seconds)
        await self.store.store(key, result)
        publish(
            ToolCalled(
                name=call.name,
                arguments=dict(call.arguments),
                seconds=seconds,
                exit_code=outcome.exit_code,
                bytes=len(text.encode()),
                summary=brief(text, outcome.exit_code, outcome.ending),
            )
        )
        return result

    async def _call(self, call: ToolCall, position: int) -> ToolOutcome:
        if call.unread is not None:
            return ToolOutcome("Error: the arguments are no JSON object, or were cut off. Call it again")
        if position >= MOST_AT_ONCE:
            return ToolOutcome(f"Error: {MOST_AT_ONCE} calls at once are the most. Call it again")
        return await self.bench.call(call.name, call.arguments)

    async def _announce(self, call: ToolCall, publish: Publish) -> None:
        """Publish that a command runs, if it takes a while."""
        await asyncio.sleep(ANNOUNCED_AFTER)
        if call.name == "execute" and (command := call.arguments.get("command")):
            publish(SandboxStarted(what=COMMAND, backend=self.bench.backend, command=[str(command)]))

    def _remarked(self, key: ToolCallKey, result: str) -> str:
        """Return a result with a remark if the model repeats itself. The third time ends its calls."""
        seen = (key.name, key.arguments, result, self.bench.snapshot)  # after an edit it is another call
        self._seen[seen] += 1
        self._repeats = self._repeats or self._seen[seen] > 2
        return _AGAIN if self._seen[seen] > 1 else result

    async def warm(self) -> None:
        """Open the session while the model thinks. A model that answers at once needs none."""
        await asyncio.sleep(WARM_AFTER)
        self.bench.warm()
