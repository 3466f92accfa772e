"""Conversations of agents with their models. An unusable reply goes back to its author once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime

from nodes.dialogue.prompts import add_notes, indent_steps
from nodes.dialogue.replies import Unusable
from nodes.events import Retried
from nodes.llm.models import Call, Models
from nodes.publish import Publish
from nodes.state import Agent, BranchInput, Options, State

T = TypeVar("T")

REPAIR = """Your reply could not be used:

{problem}

Nothing of it was kept. Answer again, whole, in the format that was asked for."""


def thread_of(runtime: Runtime[None]) -> str:
    """Return the thread's id, or `studio` if the graph runs without a checkpointer."""
    info = runtime.execution_info
    return (info and info.thread_id) or "studio"


async def ask(
    models: Models,
    publish: Publish,
    state: State | BranchInput,
    agent: Agent,
    step: str,
    prompt: Sequence[BaseMessage],
    read: Callable[[str], T],
    ordinal: int = 0,
) -> T:
    """Ask a model, and return what `read` makes of its reply. `read` runs in a thread.

    Raises Unusable if the second reply is unusable too, BudgetSpent, and ModelError.
    """
    options = Options.model_validate(state["options"])
    call = Call(state["run"], agent, step, ordinal)
    reply = await models.complete(call, add_notes(prompt, await models.notes(call)), options, publish)
    try:
        return await asyncio.to_thread(read, reply.text)
    except Unusable as problem:
        publish(Retried(reason=f"unusable reply: {problem}", attempt=1, model=reply.model))
        again = [
            AIMessage(indent_steps(reply.text) or "(empty)"),  # some providers refuse an empty message
            HumanMessage(indent_steps(REPAIR.format(problem=problem))),
        ]
    call = Call(state["run"], agent, step, ordinal + 1)
    prompt = add_notes(prompt, await models.notes(call))
    reply = await models.complete(call, [*prompt, *again], options, publish)
    return await asyncio.to_thread(read, reply.text)
