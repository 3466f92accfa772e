"""Things made ready before they are wanted, each handed out once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sandbox.cleanup import Endings

Key = TypeVar("Key")
Thing = TypeVar("Thing")


class Pool(Generic[Key, Thing]):
    """Makes things for a key in the background; what is not taken, or no longer usable, is discarded."""

    def __init__(
        self,
        make: Callable[[Key], Awaitable[Thing]],
        usable: Callable[[Thing], Awaitable[bool]],
        discard: Callable[[Thing], Awaitable[None]],
        capacity: int = 4,
    ) -> None:
        self._make = make
        self._usable = usable
        self._discard = discard
        self._capacity = capacity
        self._ready: list[tuple[Key, asyncio.Future[Thing]]] = []
        self._endings = Endings()

    def prepare(self, key: Key, count: int = 1) -> None:
        """See to it that `count` things are there or on their way; the oldest others make room."""
        self._ready = [entry for entry in self._ready if not _failed(entry[1])]
        missing = min(count, self._capacity) - sum(made_for == key for made_for, _ in self._ready)
        for _ in range(missing):
            self._ready.append((key, asyncio.ensure_future(self._make(key))))
        while len(self._ready) > self._capacity:
            self._endings.begin(self._discard_made(self._ready.pop(0)[1]))

    async def take(self, key: Key) -> Thing:
        """One for `key`: the one made first, or a new one. Raises what making it raises."""
        while future := self._next(key):
            if thing := await self._made(future, check=True):
                return thing
        thing = await self._made(asyncio.ensure_future(self._make(key)), check=False)
        assert thing is not None  # noqa: S101  # unchecked
        return thing

    def _next(self, key: Key) -> asyncio.Future[Thing] | None:
        for entry in self._ready:
            if entry[0] == key and not _failed(entry[1]):
                self._ready.remove(entry)
                return entry[1]
        return None

    async def _made(self, future: asyncio.Future[Thing], check: bool) -> Thing | None:
        """What the future holds, or None when it is of no use; nothing is lost when this is cancelled."""
        kept = False
        try:
            thing = await asyncio.shield(future)
            kept = not check or await self._usable(thing)
            return thing if kept else None
        finally:
            if not kept:
                await self._endings.finish(self._discard_made(future))

    async def _discard_made(self, future: asyncio.Future[Thing]) -> None:
        await asyncio.wait({future})
        if not _failed(future):
            await self._discard(future.result())

    async def aclose(self) -> None:
        """Discard everything that was not taken, also what is still being made."""
        ready, self._ready = self._ready, []
        for _, future in ready:
            self._endings.begin(self._discard_made(future))
        await self._endings.wait()


def _failed(future: asyncio.Future[Thing]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
