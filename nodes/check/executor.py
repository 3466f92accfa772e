"""Executions for a check: commands on snapshots, told as events; what the base did is remembered."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from nodes.check.outcomes import Outcomes
from nodes.events import SandboxOutput, SandboxStarted
from nodes.publish import Publish
from sandbox.base import Limits, Result, Sandbox
from tools.workspace import Workspace

_VERSION = 1
_EVERY_SECONDS = 0.1


class CheckCache(Protocol):
    """Keeps what the base's suite did, by tree, command, image and limits."""

    async def check(self, key: str) -> str | None: ...

    async def store_check(self, key: str, value: str) -> None: ...


@dataclass(frozen=True)
class Executor:
    """Runs commands on snapshots of the repository at `path`."""

    path: Path
    sandbox: Sandbox
    image: str
    limits: Limits
    cache: CheckCache
    publish: Publish

    async def run(
        self,
        what: str,
        snapshot: str,
        command: Sequence[str],
        limits: Limits | None = None,
        heard: bool = False,
    ) -> Result:
        """One execution; its output becomes events when `heard`."""
        self.publish(SandboxStarted(what=what, backend=self.sandbox.name, command=list(command)))
        files = _tar(self.path, snapshot)
        if not heard:
            return await self.sandbox.run(files, command, limits or self.limits)
        echo = _Echo(self.publish)
        try:
            return await self.sandbox.run(files, command, limits or self.limits, echo.hear)
        finally:
            echo.flush()

    async def remembered(self, tree: str, command: Sequence[str]) -> Outcomes | None:
        """What `command` did on `tree` before, in the same image under the same limits."""
        text = await self.cache.check(self._key(tree, command))
        if text is None:
            return None
        try:
            return Outcomes.model_validate_json(text)
        except ValidationError:
            return None

    async def remember(self, what: str, snapshot: str, tree: str, command: Sequence[str]) -> Outcomes:
        """Run `command` on a snapshot with this tree, and keep what it did."""
        outcomes = Outcomes.of(await self.run(what, snapshot, command))
        await self.cache.store_check(self._key(tree, command), outcomes.model_dump_json())
        return outcomes

    def _key(self, tree: str, command: Sequence[str]) -> str:
        limits = self.limits
        bounds = [limits.seconds, limits.memory_mb, limits.tmp_mb, limits.cpus, limits.processes]
        parts = [_VERSION, tree, list(command), self.sandbox.name, self.image, bounds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks of which the first failure ends all, raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _tar(path: Path, snapshot: str) -> Iterator[bytes]:
    """The files of a snapshot, from a Workspace of its own in whichever thread reads them."""
    yield from Workspace.open(path).tar(snapshot)


class _Echo:
    """Gathers pieces of output and passes them on a few times a second."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._pieces: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, text: str) -> None:
        self._pieces.append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pieces:
            self._publish(SandboxOutput(text="".join(self._pieces)))
            self._pieces.clear()
