"""The graph's state of a thread, now and before, as the ecosystem's clients ask for it."""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from graph.builder import Graph
from graph.errors import InputError, RunnerError, UnknownThread
from graph.runner import Runner
from nodes.messages import as_taken

SETTABLE = ("messages",)
"""What clients may write into a state: the rest is what proofs rest on."""


async def state(runner: Runner, thread_id: str, checkpoint_id: str | None = None) -> StateSnapshot:
    """The state at a checkpoint, else the newest; its values are empty where nothing has run yet."""
    await _known(runner, thread_id)
    found = await runner.graph.aget_state(_at(thread_id, checkpoint_id))
    if checkpoint_id and not found.created_at:
        raise UnknownThread(f"there is no checkpoint {checkpoint_id} on thread {thread_id}")
    return found


async def history(
    runner: Runner, thread_id: str, limit: int = 10, before: str | None = None
) -> list[StateSnapshot]:
    """The states at the thread's checkpoints, newest first; `before` is a checkpoint's id."""
    await _known(runner, thread_id)
    graph: Graph = runner.graph
    earlier = _at(thread_id, before) if before else None
    return [one async for one in graph.aget_state_history(_at(thread_id), before=earlier, limit=limit)]


async def update(runner: Runner, thread_id: str, values: Mapping[str, Any]) -> StateSnapshot:
    """Add `messages` to a thread that nothing runs on. Raises InputError for any other key."""
    await _known(runner, thread_id)
    if refused := sorted(set(values) - set(SETTABLE)):
        raise InputError(f"the state's {', '.join(refused)} cannot be set, only {', '.join(SETTABLE)}")
    run = await runner.journal.runs.current(thread_id)
    if run and run.unfinished:
        raise RunnerError(f"thread {thread_id} has an unfinished run; a note reaches it, an update does not")
    added = {"messages": as_taken(values.get("messages") or [])}
    await runner.graph.aupdate_state(_at(thread_id), added, as_node="commit")
    return await runner.graph.aget_state(_at(thread_id))


async def _known(runner: Runner, thread_id: str) -> None:
    if await runner.journal.threads.get(thread_id) is None:
        raise UnknownThread(f"there is no thread {thread_id}")


def _at(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    place = {"thread_id": thread_id, "checkpoint_ns": ""}
    return RunnableConfig(configurable=place | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {}))
