"""Things made ready before they are wanted, each handed out once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

Key = TypeVar("Key")
Thing = TypeVar("Thing")


class Pool(Generic[Key, Thing]):
    """Makes things for a key in the background; what is not taken goes back to `discard`."""

    def __init__(
        self,
        make: Callable[[Key], Awaitable[Thing]],
        discard: Callable[[Thing], Awaitable[None]],
        capacity: int = 4,
    ) -> None:
        self._make = make
        self._discard = discard
        self._capacity = capacity
        self._ready: list[tuple[Key, asyncio.Future[Thing]]] = []
        self._discarding: set[asyncio.Future[None]] = set()

    def prepare(self, key: Key, count: int = 1) -> None:
        """See to it that `count` things are there or on their way; the oldest others make room."""
        self._ready = [entry for entry in self._ready if not _failed(entry[1])]
        missing = min(count, self._capacity) - sum(made_for == key for made_for, _ in self._ready)
        for _ in range(missing):
            self._ready.append((key, asyncio.ensure_future(self._make(key))))
        while len(self._ready) > self._capacity:
            self._drop(self._ready.pop(0)[1])

    async def take(self, key: Key) -> Thing:
        """One for `key`: the one made first, or a new one. Raises what making it raises."""
        future = self._next(key) or asyncio.ensure_future(self._make(key))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._drop(future)
            raise

    def _next(self, key: Key) -> asyncio.Future[Thing] | None:
        for entry in self._ready:
            if entry[0] == key and not _failed(entry[1]):
                self._ready.remove(entry)
                return entry[1]
        return None

    def _drop(self, future: asyncio.Future[Thing]) -> None:
        task = asyncio.ensure_future(self._discard_when_made(future))
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    async def _discard_when_made(self, future: asyncio.Future[Thing]) -> None:
        await asyncio.wait({future})
        if not future.cancelled() and not future.exception():
            await self._discard(future.result())

    async def aclose(self) -> None:
        """Discard everything that was not taken, also what is still being made."""
        ready, self._ready = self._ready, []
        for _, future in ready:
            self._drop(future)
        while self._discarding:
            with suppress(Exception):
                await asyncio.wait(set(self._discarding))


def _failed(future: asyncio.Future[Thing]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
