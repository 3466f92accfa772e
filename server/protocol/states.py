"""The states that streams show: read once for all readers, as a checkpoint does not change."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends
from langgraph.types import StateSnapshot
from starlette.requests import HTTPConnection

from server.api.dependencies import Supervised
from server.protocol.state import Plain, plain_with, thread_state

KEPT = 256
"""States that are kept for the next reader."""

Read = Callable[[str, str], Awaitable[StateSnapshot]]
"""Reads a thread's state at a checkpoint."""


@dataclass
class States:
    """Checkpoints as JSON. What a task returned may be asked for only once its superstep has ended."""

    read: Read
    plain: Plain
    _kept: "OrderedDict[tuple[str, str, str], asyncio.Task[Any]]" = field(default_factory=OrderedDict)

    async def values(self, thread_id: str, checkpoint_id: str) -> dict[str, Any]:
        """The values at a checkpoint."""
        found: dict[str, Any] = await self._once("values", thread_id, checkpoint_id, lambda one: one.values)
        return found

    async def updates(self, thread_id: str, checkpoint_id: str) -> list[tuple[str, Any]]:
        """What each task returned that ran on a checkpoint, by its node, in the order of the plan."""
        found: list[tuple[str, Any]] = await self._once("updates", thread_id, checkpoint_id, _results)
        return found

    async def payload(self, thread_id: str, checkpoint_id: str) -> dict[str, Any]:
        """A checkpoint as the stream mode `checkpoints` shows it, its tasks yet to run."""
        found: dict[str, Any] = await self._once("payload", thread_id, checkpoint_id, self._payload)
        return found

    async def _once(
        self, what: str, thread_id: str, checkpoint_id: str, choose: Callable[[StateSnapshot], Any]
    ) -> Any:
        key = (what, thread_id, checkpoint_id)
        if key not in self._kept:
            self._kept[key] = asyncio.create_task(self._shown(thread_id, checkpoint_id, choose))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        try:
            return await asyncio.shield(self._kept[key])
        except BaseException:
            self._kept.pop(key, None)
            raise

    async def _shown(self, thread_id: str, checkpoint_id: str, choose: Callable[[StateSnapshot], Any]) -> Any:
        snapshot = await self.read(thread_id, checkpoint_id)
        return await asyncio.to_thread(lambda: self.plain(choose(snapshot)))

    def _payload(self, snapshot: StateSnapshot) -> dict[str, Any]:
        state = thread_state(snapshot, self.plain)
        tasks = [{"id": t["id"], "name": t["name"], "interrupts": [], "state": None} for t in state["tasks"]]
        parent = state["parent_checkpoint"]
        return {
            "config": {"configurable": state["checkpoint"]},
            "parent_config": {"configurable": parent} if parent else None,
            "values": state["values"],
            "metadata": state["metadata"],
            "next": state["next"],
            "tasks": tasks,
            "checkpoint": state["checkpoint"],
            "parent_checkpoint": parent,
        }


def _results(snapshot: StateSnapshot) -> list[tuple[str, Any]]:
    return [(task.name, task.result) for task in snapshot.tasks if task.result is not None]


async def _states(connection: HTTPConnection, supervisor: Supervised) -> States:
    state = connection.app.state
    if not hasattr(state, "shown_states"):
        secrets = tuple(supervisor.settings.secrets())
        state.shown_states = States(supervisor.history.state, plain_with(secrets))
    found: States = state.shown_states
    return found


Shown = Annotated[States, Depends(_states)]
