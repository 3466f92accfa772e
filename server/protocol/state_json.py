"""States and statuses of threads and runs as the SDKs read them, with secrets masked."""

import asyncio
from collections.abc import Mapping
from typing import Any

from langgraph.types import Overwrite, StateSnapshot
from pydantic_core import to_jsonable_python

from graph.supervisor import Supervisor
from memory.secrets import masked_tokens

RUN_STATUSES: dict[str, str] = {
    "queued": "pending",
    "running": "running",
    "verified": "success",
    "answered": "success",
    "unverified": "success",
    "budget": "timeout",  # the nearest of the protocol's words for a limit that was reached
    "waiting": "interrupted",
    "cancelled": "interrupted",
    "failed": "error",
}
INTERNAL = frozenset({"debugging"})
"""Keys of the state that are long, and of use to the graph alone."""

THREAD_STATUSES: dict[str, str] = {
    "new": "idle",
    "queued": "busy",
    "running": "busy",
    "verified": "idle",
    "answered": "idle",
    "unverified": "idle",
    "budget": "idle",
    "cancelled": "idle",  # as in LangGraph, where a cancelled run leaves its thread free
    "waiting": "interrupted",
    "failed": "error",
}


async def read_state(
    supervisor: Supervisor, thread_id: str, checkpoint_id: str | None = None
) -> dict[str, Any]:
    """Return the SDKs' ThreadState at a checkpoint, by default the newest. Raises UnknownThread."""
    snapshot = await supervisor.history.state(thread_id, checkpoint_id)
    # A thread, because a state with many files takes tens of milliseconds to convert.
    return await asyncio.to_thread(thread_state, snapshot, tuple(supervisor.settings.secrets()))


async def read_states(
    supervisor: Supervisor, thread_id: str, limit: int, before: str | None
) -> list[dict[str, Any]]:
    """Return a thread's states, newest first. Raises UnknownThread."""
    snapshots = await supervisor.history.states(thread_id, limit, before)
    secrets = tuple(supervisor.settings.secrets())
    return await asyncio.to_thread(lambda: [thread_state(snapshot, secrets) for snapshot in snapshots])


def thread_state(snapshot: StateSnapshot, secrets: tuple[str, ...]) -> dict[str, Any]:
    """Convert a snapshot to the SDKs' ThreadState. Every secret becomes `***`."""

    def to_json(value: Any) -> Any:
        return masked_tokens(to_jsonable_python(_without_overwrites(value), fallback=str), secrets)

    tasks = [
        {
            "id": task.id,
            "name": task.name,
            "path": to_json(task.path),
            "error": to_json(str(task.error)) if task.error else None,
            "interrupts": [{"id": ask.id, "value": to_json(ask.value)} for ask in task.interrupts],
            "checkpoint": None,
            "state": None,
            "result": to_json(_public(task.result)),
        }
        for task in snapshot.tasks
    ]
    checkpoint, parent = checkpoint_of(snapshot.config), checkpoint_of(snapshot.parent_config)
    return {
        "values": to_json(_public(snapshot.values)),
        "next": list(snapshot.next),
        "tasks": tasks,
        "metadata": to_json(snapshot.metadata),
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [interrupt for task in tasks for interrupt in task["interrupts"]],
        "checkpoint_id": checkpoint and checkpoint["checkpoint_id"],
        "parent_checkpoint_id": parent and parent["checkpoint_id"],
    }


def _public(values: Any) -> Any:
    """Return a state, or a node's update of it, without its internal keys."""
    if not isinstance(values, Mapping):
        return values
    return {name: value for name, value in values.items() if name not in INTERNAL}


def checkpoint_of(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the checkpoint that a config names, or None. A thread without a run has no checkpoint."""
    configurable = (config or {}).get("configurable") or {}
    if not configurable.get("checkpoint_id"):
        return None
    return {name: configurable.get(name, "") for name in ("thread_id", "checkpoint_ns", "checkpoint_id")}


def checkpoint_payload(state: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a ThreadState to the payload of the stream mode `checkpoints`, before its tasks run."""
    checkpoint, parent = state["checkpoint"], state["parent_checkpoint"]
    tasks = [
        {"id": task["id"], "name": task["name"], "interrupts": [], "state": None} for task in state["tasks"]
    ]
    return {
        "config": {"configurable": checkpoint},
        "parent_config": {"configurable": parent} if parent else None,
        "values": state["values"],
        "metadata": state["metadata"],
        "next": state["next"],
        "tasks": tasks,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
    }


def _without_overwrites(value: Any) -> Any:
    """Replace LangGraph's Overwrite, which resets a reducer's key, with the value that it sets."""
    if isinstance(value, Mapping):
        return {key: _without_overwrites(item) for key, item in value.items()}
    return _without_overwrites(value.value) if isinstance(value, Overwrite) else value


def own_statuses(status: str, table: dict[str, str]) -> tuple[str, ...]:
    """Return our statuses that one of the protocol's stands for."""
    return tuple(own for own, theirs in table.items() if theirs == status)
