"""Conversations of agents with their models: calls of tools, answers, and answers that go back."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime

from nodes.agent.context import as_values, from_values, shortened
from nodes.agent.kept_changes import hold_edit
from nodes.agent.tool_runs import ToolRuns
from nodes.agent.workbench import Workbench
from nodes.dialogue.edits import Edit
from nodes.dialogue.prompts import NOTES, add_notes, fenced, indent_steps, section
from nodes.dialogue.replies import Unusable, join_cut
from nodes.event_parts import Payload
from nodes.events import Retried
from nodes.llm.call import Call, Reply
from nodes.llm.models import Models
from nodes.llm.provider_errors import ToolsRefused
from nodes.llm.reasoning import without_reasoning
from nodes.publish import publisher
from nodes.repository import thread_of
from nodes.state import Agent, Earlier, State, options_of
from tools.workspace import Workspace

T = TypeVar("T")

CALLS = 1_000
"""The most calls of one question to an agent. The ordinals of its next question begin after them."""

WITHOUT_TOOLS = CALLS // 2
"""The first of these calls after a model has refused tools."""

LONGEST_REPLY = 500_000
"""Characters of an answer that are read."""

CONTINUE_LINES = 4
CONTINUE = """\
The output limit cut your reply off. Go on exactly where it ends, without repeating anything and without a
word before it. These are its last lines:
{end}"""

REPAIR = """Your reply could not be used:

{problem}

Nothing of it was kept. Answer again, whole, in the format that was asked for."""

KEPT_EDIT = " What your tools changed is kept: repeat none of it."

OVER = "{reason}, so no call is run any more. Answer now, without a tool call."


@dataclass
class Conversation:
    """One step of an agent: its calls, its events and its edit. `tools` is None if the model calls none.

    It holds at most `room` tokens, and may go on with the messages of an `earlier` step.
    """

    models: Models
    runtime: Runtime[None]
    state: State
    agent: Agent
    step: str
    bench: Workbench
    room: int
    tools: ToolRuns | None = None
    earlier: Earlier | None = None
    _messages: list[BaseMessage] = field(default_factory=list, init=False)
    _notes: list[str] = field(default_factory=list, init=False)
    _ordinal: int = field(default=0, init=False)

    @property
    def offers_tools(self) -> bool:
        """True if the model can call tools."""
        return self.tools is not None

    @property
    def begun(self) -> list[BaseMessage]:
        """The messages of the earlier step that this one goes on with, none if it begins anew."""
        # Providers refuse tool calls and results where no tools are offered.
        if self.earlier is None or self.earlier["tools"] != self.offers_tools:
            return []
        return from_values(self.earlier["messages"], self.room)

    def ended(self, head: str) -> Earlier:
        """Return the conversation for a later step to go on with. `head` has the files that it left."""
        messages = as_values(self._messages, self.room)
        return Earlier(messages=messages, notes=len(self._notes), tools=self.offers_tools, head=head)

    @property
    def notes(self) -> list[str]:
        """The user's notes that the agent has read."""
        return list(self._notes)

    @property
    def calls(self) -> list[str]:
        """The calls of tools so far, each with its result in a line."""
        return self.tools.calls if self.tools else []

    @property
    def snapshot(self) -> str:
        """The files as the tools have left them."""
        return self.bench.snapshot

    def publish(self, payload: Payload) -> None:
        """Publish an event of this step."""
        step = None if self.agent == "planner" else self.step  # planning is no step of the plan
        publisher(self.runtime.stream_writer, self.agent, step)(payload)

    async def ask(
        self, make_prompt: Callable[[], Sequence[BaseMessage]], read: Callable[[str], T], question: int = 0
    ) -> T:
        """Ask the model, run the tools that it calls, and return what `read` makes of its answer.

        Both callables run in threads. The prompt follows `begun`. `question` counts the questions of one
        step. Raises Unusable if the second answer is unusable too, BudgetSpent, ModelError and SandboxError.
        """
        async with self.models.within_time(self.state["run"], options_of(self.state)):
            return await self._ask(make_prompt, read, question)

    async def _ask(
        self, make_prompt: Callable[[], Sequence[BaseMessage]], read: Callable[[str], T], question: int
    ) -> T:
        await self._begin(make_prompt, question)
        is_second = False
        while True:
            try:
                reply = await self._answer()
            except ToolsRefused:  # also of a model that steps in: it begins anew, from the same files
                await self.bench.reset()
                self.tools = None
                await self._begin(make_prompt, question, WITHOUT_TOOLS)
                continue
            try:
                reply = await self._continued(reply)
                answer = await asyncio.to_thread(_read, reply, read)
            except Unusable as problem:
                if is_second:
                    raise
                is_second = True
                self.publish(Retried(reason=f"unusable reply: {problem.fault}", attempt=1, model=reply.model))
                self._say(_as_message(reply), HumanMessage(indent_steps(self._repair(problem))))
            else:
                self._say(_as_message(reply))
                return answer

    def _repair(self, problem: Unusable) -> str:
        return REPAIR.format(problem=problem) + (KEPT_EDIT if self.bench.has_changed else "")

    async def _begin(
        self, make_prompt: Callable[[], Sequence[BaseMessage]], question: int, first: int = 0
    ) -> None:
        self._ordinal = question * CALLS + first
        begun = self.begun
        prompt = [*begun, *await asyncio.to_thread(make_prompt)]
        self._notes = await self.models.notes(self._call_key())
        told = self.earlier["notes"] if self.earlier and begun else 0
        self._messages = add_notes(prompt, self._notes[told:])

    async def _answer(self) -> Reply:
        """Return the next reply that calls no tool."""
        while True:
            reply = await self._complete()
            if not reply.tool_calls or self.tools is None or self.tools.is_over:
                return reply
            self._say(*await self.tools.run(reply, self._ordinal - 1, self.publish))
            if self.tools.is_over:
                self._say(HumanMessage(OVER.format(reason=self.tools.end)))

    async def _continued(self, reply: Reply) -> Reply:
        """Return the whole reply. If it was cut, the model is asked once for the rest."""
        if not reply.cut or not reply.text.strip():
            return reply
        self.publish(Retried(reason="the reply was cut off, and is continued", attempt=1, model=reply.model))
        end = indent_steps("\n".join(reply.text.splitlines()[-CONTINUE_LINES:]))
        more = [AIMessage(indent_steps(reply.text)), HumanMessage(CONTINUE.format(end=fenced(end)))]
        rest = await self._complete(more)
        return replace(rest, text=join_cut(reply.text, rest.text))

    async def _complete(self, more: Sequence[BaseMessage] = ()) -> Reply:
        """Ask once. What the user has said meanwhile comes last, so that the beginning stays as it was."""
        call = self._call_key()
        notes = await self.models.notes(call)
        if fresh := notes[len(self._notes) :]:
            self._notes = notes
            text = section("The user's notes", "\n\n".join([NOTES, *(note.strip() for note in fresh)]))
            self._say(HumanMessage(indent_steps(text)))
        self._ordinal += 1
        if self.tools:
            before, self._messages = self._messages, shortened(self._messages, self.room)
            if self._messages != before:
                self.tools.forget()
        options, definitions = options_of(self.state), self.tools.definitions if self.tools else ()
        warming = asyncio.create_task(self.tools.warm()) if self.tools else None
        try:
            return await self.models.complete(
                call, [*self._messages, *more], options, self.publish, definitions
            )
        finally:
            if warming:
                warming.cancel()

    def _call_key(self) -> Call:
        return Call(self.state["run"], self.agent, self.step, self._ordinal)

    def _say(self, *messages: BaseMessage) -> None:
        self._messages = [*self._messages, *messages]

    async def hold(self, workspace: Workspace, edit: Edit, name: str = "") -> None:
        """Hold the edit's snapshot by a ref, so that git keeps it, and publish the edit."""
        thread, placed = thread_of(self.runtime), {path: list(how) for path, how in edit.placed.items()}
        hold = partial(hold_edit, workspace, thread, name or self.step, edit.base, edit.snapshot, placed)
        self.publish(await asyncio.to_thread(hold))


def _as_message(reply: Reply) -> AIMessage:
    """Return an answer as a message of the next prompt. Some providers refuse an empty one."""
    return AIMessage(indent_steps(without_reasoning(reply.text)) or "(empty)")


def _read(reply: Reply, read: Callable[[str], T]) -> T:
    """Read a whole reply. Half of one may look complete, so a cut reply is never read."""
    if reply.cut:
        raise Unusable(f"It was cut off after {reply.output_tokens} tokens.", "Answer in fewer words.")
    if not reply.text.strip():
        raise Unusable("It held no text.", "Write the answer as text. No tool can be called any more.")
    if len(reply.text) > LONGEST_REPLY:
        raise Unusable(f"It has {len(reply.text):,} characters.", f"Answer with at most {LONGEST_REPLY:,}.")
    try:
        return read(without_reasoning(reply.text))
    except (RecursionError, OverflowError, UnicodeError) as error:
        # A stored reply that ends the run would end each resume of it too.
        raise Unusable(
            f"It could not be read ({type(error).__name__}).", "Answer in a simpler form."
        ) from error
