"""Containers that are created before a run needs them. Each is used once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sandbox.base import Limits
from sandbox.docker.container import Container
from sandbox.program import Cleanup

_CAPACITY = 4


class ContainerPool:
    """Creates containers in the background. Those that nobody takes, or that have died, are removed."""

    def __init__(
        self,
        create: Callable[[Limits], Container],
        call: Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]],
    ) -> None:
        self._create = create
        self._call = call
        self._ready: list[tuple[Limits, asyncio.Future[Container]]] = []
        self._cleanup = Cleanup()

    def prepare(self, limits: Limits, count: int = 1) -> None:
        """Have `count` containers with these limits ready or on their way. The oldest others make room."""
        self._ready = [entry for entry in self._ready if not _failed(entry[1])]
        missing = min(count, _CAPACITY) - sum(of == limits for of, _ in self._ready)
        for _ in range(missing):
            self._ready.append((limits, self._start(limits)))
        while len(self._ready) > _CAPACITY:
            self._cleanup.start(self._remove_created(self._ready.pop(0)[1]))

    async def take(self, limits: Limits) -> Container:
        """Return the oldest container with these limits, or a new one. Raises what its creation raises."""
        while True:
            prepared = [entry for entry in self._ready if entry[0] == limits and not _failed(entry[1])]
            if prepared:
                self._ready.remove(prepared[0])
            creation = prepared[0][1] if prepared else self._start(limits)
            if container := await self._wait(creation, check=bool(prepared)):
                return container

    def _start(self, limits: Limits) -> asyncio.Future[Container]:
        return asyncio.ensure_future(self._call(lambda: self._create(limits)))

    async def _wait(self, creation: asyncio.Future[Container], check: bool) -> Container | None:
        """Return the container, or None when it has died. A cancelled wait removes it."""
        kept = False
        try:
            container = await asyncio.shield(creation)
            kept = not check or await self._call(lambda: container.state("Running"))
            return container if kept else None
        finally:
            if not kept:
                await self._cleanup.run(self._remove_created(creation))

    async def _remove_created(self, creation: asyncio.Future[Container]) -> None:
        await asyncio.wait({creation})
        if not _failed(creation):
            await self._call(creation.result().remove)

    async def aclose(self) -> None:
        """Remove every container that nobody took, those under way included."""
        ready, self._ready = self._ready, []
        for _, creation in ready:
            self._cleanup.start(self._remove_created(creation))
        await self._cleanup.wait()


def _failed(creation: asyncio.Future[Container]) -> bool:
    return creation.done() and (creation.cancelled() or creation.exception() is not None)
