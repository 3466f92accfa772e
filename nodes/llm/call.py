"""One call to a model: its place in a run, and its reply."""

from dataclasses import dataclass, fields

from langchain_core.messages import AIMessage

from memory.calls.reply import Answer, StoredReply
from nodes.llm.reasoning import without_reasoning
from nodes.state import Agent

ANSWER = {each.name for each in fields(Answer)}
"""Fields of a reply that are no usage."""


@dataclass(frozen=True)
class Call:
    """The place of a call: the `ordinal`th of an agent's step in a run."""

    run: str
    agent: Agent
    step: str
    ordinal: int


@dataclass(frozen=True, kw_only=True)
class Reply(StoredReply):
    """A model's text, tool calls and usage. `cached` is true if an earlier call paid for it."""

    cached: bool = False

    @property
    def message(self) -> AIMessage:
        """The reply as a message of the next prompt. Each of its calls must be followed by its result."""
        calls = [
            {"type": "tool_call", "id": call.id, "name": call.name, "args": dict(call.arguments)}
            for call in self.tool_calls
        ]
        kept = dict(self.reasoning)
        return AIMessage(without_reasoning(self.text), tool_calls=calls, additional_kwargs=kept)
