"""Work that is finished whatever is cancelled meanwhile: killing, removing, sweeping up."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Endings:
    """Holds on to such work until it is done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, object]) -> "asyncio.Task[Any]":
        """Do the work in the background."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, work: Coroutine[Any, Any, object]) -> None:
        """Do the work and wait for it; cancelling ends the wait alone. Raises what the work raises."""
        await asyncio.shield(self.begin(work))

    async def wait(self) -> None:
        """Wait until all is done; what failed, failed."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
