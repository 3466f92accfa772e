"""Branches of a group that are at work at the same time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nodes.llm.model_settings import ModelError


@dataclass
class Siblings:
    """The branches at work, by their runs. An error in one cancels the others of its group."""

    _working: Counter[str] = field(default_factory=Counter)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def join(self, run: str) -> AsyncIterator[None]:
        """Count a branch as working. The failure of its provider is raised once no other branch works."""
        failure: ModelError | None = None
        self._working[run] += 1
        try:
            yield
        except ModelError as error:
            failure = error
        finally:
            self._working[run] -= 1
            if not self._working[run]:
                del self._working[run]
            self._ended.set()
            self._ended = asyncio.Event()
        if failure:
            while self._working[run]:
                await self._ended.wait()
            raise failure
