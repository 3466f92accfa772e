"""The commands of a check: run on snapshots, reported as events, and cached for the base."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from nodes.check.outcomes import Outcomes
from nodes.check.shared_tree import SharedTree
from nodes.events import SandboxOutput, SandboxStarted
from nodes.publish import Publish
from sandbox.base import Limits, Result, Sandbox

_CACHE_VERSION = 3  # of the outcomes' meaning: a higher one discards what is cached
_FLUSH_SECONDS = 0.1
_NO_TESTS = Result(exit_code=5, stdout="no tests collected", stderr="", seconds=0.0, report=())


class CheckCache(Protocol):
    """Stores outcomes of suites on the base, as JSON."""

    async def check(self, key: str) -> str | None: ...

    async def store_check(self, key: str, value: str) -> None: ...


@dataclass(frozen=True)
class Executor:
    """Runs commands on snapshots of the repository at `path`. An empty command finds no tests.

    `tree` shares the unpacked files of the base between all runs, those of replaced copies included.
    """

    path: Path
    sandbox: Sandbox
    image: str
    limits: Limits
    cache: CheckCache
    publish: Publish
    tree: SharedTree

    async def run(
        self, what: str, snapshot: str, command: Sequence[str], publish_output: bool = False
    ) -> Result:
        """Run a command once. `what` names the snapshot to users."""
        return await self.run_edited(what, snapshot, {}, command, publish_output)

    async def run_edited(
        self,
        what: str,
        snapshot: str,
        edits: Mapping[str, str],
        command: Sequence[str],
        publish_output: bool = False,
    ) -> Result:
        """Run a command on a snapshot with other texts of some files. The repository does not change."""
        if not command:
            return _NO_TESTS
        self.publish(SandboxStarted(what=what, backend=self.sandbox.name, command=list(command)))
        output = _OutputBuffer(self.publish)
        on_output = output.append if publish_output else None
        try:
            return await self.tree.run(snapshot, edits, command, self.limits, on_output)
        finally:
            output.flush()

    async def cached(self, tree: str, command: Sequence[str]) -> Outcomes | None:
        """Return the outcomes of an earlier run of `command` on `tree`, in the same image and limits."""
        if not command:
            return Outcomes.of(_NO_TESTS)
        text = await self.cache.check(self._key(tree, command))
        with suppress(ValidationError):
            return Outcomes.model_validate_json(text) if text else None
        return None

    async def run_base(self, snapshot: str, tree: str, command: Sequence[str]) -> Outcomes:
        """Run `command` on the base, a snapshot with this tree, and store its outcomes."""
        outcomes = Outcomes.of(await self.run("the base", snapshot, command))
        await self.cache.store_check(self._key(tree, command), outcomes.model_dump_json())
        return outcomes

    def _key(self, tree: str, command: Sequence[str]) -> str:
        limits = self.limits  # without the size of the workspace, which depends on the change as well
        bounds = [limits.seconds, limits.memory_mb, limits.tmp_mb, limits.cpus, limits.processes]
        parts = [_CACHE_VERSION, tree, list(command), self.sandbox.name, self.image, bounds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a TaskGroup that raises its first failure itself, not an ExceptionGroup."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


class _OutputBuffer:
    """Output that is published at most every `_FLUSH_SECONDS`."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._pieces: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def append(self, text: str) -> None:
        self._pieces.append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pieces:
            self._publish(SandboxOutput(text="".join(self._pieces)))
            self._pieces.clear()
