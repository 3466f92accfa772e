"""Background work that finishes even when its caller is cancelled: killing, removing, sweeping."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Cleanup:
    """Holds a reference to each task, because the event loop itself holds only weak ones."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, object]) -> "asyncio.Task[Any]":
        """Run the work in the background."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Run the work and wait for it. Cancelling ends the wait only. Raises what the work raises."""
        await asyncio.shield(self.start(work))

    async def wait(self) -> None:
        """Wait until all work is done, whether it succeeded or failed."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
