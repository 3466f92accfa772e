"""Conversations of agents with their models. An unusable reply goes back to its author once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime

from nodes.dialogue.edits import Edit
from nodes.dialogue.prompts import add_notes, fenced, indent_steps
from nodes.dialogue.replies import Unusable, join_cut
from nodes.event_parts import FileEdit
from nodes.events import FilesEdited, Payload, Retried
from nodes.llm.models import Call, Models, Reply
from nodes.llm.reasoning import without_reasoning
from nodes.publish import publisher
from nodes.state import Agent, State, options_of
from tools.workspace import Workspace

T = TypeVar("T")

CONTINUATION = 10
"""Added to a call's ordinal, this is the ordinal of the call for the rest of a reply that was cut."""

CONTINUE_LINES = 4
CONTINUE = """\
The output limit cut your reply off. Go on exactly where it ends, without repeating anything and without a
word before it. These are its last lines:
{end}"""

REPAIR = """Your reply could not be used:

{problem}

Nothing of it was kept. Answer again, whole, in the format that was asked for."""


def thread_of(runtime: Runtime[None]) -> str:
    """Return the thread's id, or `studio` if the graph runs without a checkpointer."""
    info = runtime.execution_info
    return (info and info.thread_id) or "studio"


async def open_workspace(state: State) -> Workspace:
    """Open the run's repository."""
    return await asyncio.to_thread(Workspace.open, Path(state["repo"]))


@dataclass(frozen=True)
class Conversation:
    """One step of an agent: its calls, its events and its edit."""

    models: Models
    runtime: Runtime[None]
    state: State
    agent: Agent
    step: str

    def publish(self, payload: Payload) -> None:
        """Publish an event of this step."""
        step = None if self.agent == "planner" else self.step  # planning is no step of the plan
        publisher(self.runtime.stream_writer, self.agent, step)(payload)

    async def ask(
        self, make_prompt: Callable[[], Sequence[BaseMessage]], read: Callable[[str], T], ordinal: int = 0
    ) -> T:
        """Ask the model, and return what `read` makes of its reply. Both callables run in threads.

        Raises Unusable if the second reply is unusable too, BudgetSpent, and ModelError.
        """
        prompt = await asyncio.to_thread(make_prompt)
        reply = await self._call(ordinal, prompt)
        try:
            whole = await self._continued(ordinal, prompt, reply)
            return await asyncio.to_thread(_read, whole, read)
        except Unusable as problem:
            self.publish(Retried(reason=f"unusable reply: {problem}", attempt=1, model=reply.model))
            answer = indent_steps(reply.text) or "(empty)"  # some providers refuse an empty message
            again = [AIMessage(answer), HumanMessage(indent_steps(REPAIR.format(problem=problem)))]
        reply = await self._call(ordinal + 1, prompt, again)
        return await asyncio.to_thread(_read, reply, read)

    async def _continued(self, ordinal: int, prompt: Sequence[BaseMessage], reply: Reply) -> Reply:
        """Return the whole reply. If it was cut, the model is asked once for the rest."""
        if not reply.cut or not reply.text.strip():
            return reply
        self.publish(Retried(reason="the reply was cut off, and is continued", attempt=1, model=reply.model))
        end = indent_steps("\n".join(reply.text.splitlines()[-CONTINUE_LINES:]))
        more = [AIMessage(indent_steps(reply.text)), HumanMessage(CONTINUE.format(end=fenced(end)))]
        rest = await self._call(ordinal + CONTINUATION, prompt, more)
        return replace(rest, text=join_cut(reply.text, rest.text))

    async def _call(
        self, ordinal: int, prompt: Sequence[BaseMessage], more: Sequence[BaseMessage] = ()
    ) -> Reply:
        call = Call(self.state["run"], self.agent, self.step, ordinal)
        options = options_of(self.state)
        messages = [*add_notes(prompt, await self.models.notes(call)), *more]
        return await self.models.complete(call, messages, options, self.publish)

    async def hold(self, workspace: Workspace, edit: Edit, name: str = "") -> None:
        """Hold the edit's snapshot by a ref, so that git keeps it, and publish the edit."""

        def hold() -> FilesEdited:
            workspace.hold(thread_of(self.runtime), name or self.step, edit.snapshot)
            changes = workspace.changes(edit.base, edit.snapshot)
            files = [
                FileEdit(path=c.path, added=c.added, removed=c.removed, placed=edit.placed.get(c.path, []))
                for c in changes
            ]
            added, removed = sum(c.added for c in changes), sum(c.removed for c in changes)
            return FilesEdited(files=files, added=added, removed=removed, snapshot=edit.snapshot)

        self.publish(await asyncio.to_thread(hold))


def _read(reply: Reply, read: Callable[[str], T]) -> T:
    """Read a whole reply. Half of one may look complete, so a cut reply is never read."""
    if reply.cut:
        raise Unusable(f"It was cut off after {reply.output_tokens} tokens. Answer in fewer words.")
    if not reply.text.strip():
        raise Unusable("It held no text. Write the answer as text. No tool can be called here.")
    return read(without_reasoning(reply.text))
