"""The repository and the thread that a run belongs to."""

import asyncio
from pathlib import Path

from langgraph.runtime import Runtime

from nodes.state import State
from tools.workspace import Workspace


def thread_of(runtime: Runtime[None]) -> str:
    """Return the thread's id, or `studio` if the graph runs without a checkpointer."""
    info = runtime.execution_info
    return (info and info.thread_id) or "studio"


async def open_workspace(state: State) -> Workspace:
    """Open the run's repository."""
    return await asyncio.to_thread(Workspace.open, Path(state["repo"]))
