"""The commands of a check: run on snapshots, reported as events, and cached for the base."""

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from nodes.check.change import CheckedChange
from nodes.check.execution.names import readable_report
from nodes.check.execution.shared_tree import SharedTree
from nodes.check.outcomes import NO_TESTS, Outcomes
from nodes.events import SandboxOutput, SandboxStarted
from nodes.publish import Publish
from sandbox.base import Limits, Result, Sandbox
from tools.workspace import Workspace
from tools.workspace.package import open_package

_CACHE_VERSION = 3  # of the outcomes' meaning: a higher one discards what is cached
_FLUSH_SECONDS = 0.1
_TIMES_THE_BASE = 3
_NO_TESTS = Result(exit_code=NO_TESTS, stdout="no tests collected", stderr="", seconds=0.0, report=())


class CheckCache(Protocol):
    """Stores outcomes of suites on the base, as JSON."""

    async def check(self, key: str) -> str | None: ...

    async def store_check(self, key: str, value: str) -> None: ...


@dataclass(frozen=True)
class Executor:
    """Runs commands on snapshots of the repository at `path`. An empty command finds no tests.

    `tree` shares the unpacked files of the base between all runs, those of replaced copies included.
    `on_base` runs the base's own suite, in the base's environment where the change has another one.
    """

    path: Path
    sandbox: Sandbox
    image: str
    limits: Limits
    cache: CheckCache
    publish: Publish
    tree: SharedTree
    runner: str = ""
    """The name of a runner other than pytest."""
    folder: str = ""
    """The package that commands run in, and that paths are relative to."""
    on_base: "Executor | None" = None
    has_environment: bool = False
    """True if the sandbox holds packages, of which one may be the project itself."""
    odd_names: bool = False
    """True if a file that pytest may run has a name that is not UTF-8."""
    watched: frozenset[str] = frozenset()
    """The changed modules of other packages, which the sandbox may hold as well."""

    def workspace(self) -> Workspace:
        """Open the package. Blocks."""
        return open_package(self.path, self.folder)

    def outcomes(self, result: Result) -> Outcomes:
        """Read a Result of the suite."""
        return Outcomes.of(result, self.runner)

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
        command = readable_report(command) if self.odd_names else command
        output = _OutputBuffer(self.publish)
        on_output = output.append if publish_output else None
        try:
            # Mutants name files of the package, and the tree is that of the whole repository.
            if self.folder:
                edits = {f"{self.folder}/{path}": text for path, text in edits.items()}
                command = ("env", f"--chdir={self.folder}", *command)
            return await self.tree.run(snapshot, edits, command, self.limits, on_output)
        finally:
            output.flush()

    async def cached(self, tree: str, command: Sequence[str]) -> Outcomes | None:
        """Return the outcomes of an earlier run of `command` on `tree`, in the same image and limits."""
        if self.on_base:
            return await self.on_base.cached(tree, command)
        if not command:
            return self.outcomes(_NO_TESTS)
        text = await self.cache.check(self._key(tree, command))
        with suppress(ValidationError):
            return Outcomes.model_validate_json(text) if text else None
        return None

    async def run_base(self, snapshot: str, tree: str, command: Sequence[str]) -> Outcomes:
        """Run `command` on the base, a snapshot with this tree. Store its outcomes, unless it was killed."""
        if self.on_base:
            return await self.on_base.run_base(snapshot, tree, command)
        outcomes = self.outcomes(await self.run("the base", snapshot, command))
        if outcomes.stopped == "killed":  # by itself, or by whoever ended the run, the sandbox or the machine
            return outcomes
        await self.cache.store_check(self._key(tree, command), outcomes.model_dump_json())
        return outcomes

    def _key(self, tree: str, command: Sequence[str]) -> str:
        limits = self.limits  # without the size of the workspace, which depends on the change as well
        bounds = [limits.seconds, limits.memory_mb, limits.tmp_mb, limits.cpus, limits.processes]
        parts = [_CACHE_VERSION, tree, self.folder, list(command), self.sandbox.name, self.image, bounds]
        parts += ["odd names"] * self.odd_names
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@asynccontextmanager
async def open_executor(
    change: CheckedChange, path: Path, sandbox: Sandbox, limits: Limits, cache: CheckCache, publish: Publish
) -> AsyncIterator[Executor]:
    """Open what runs the suite of a change, or of a package in it, in one sandbox."""
    runner = change.suite.runner.name if change.suite.runner else ""
    image = await sandbox.identity()
    async with SharedTree.of(change, path, sandbox, limits) as tree:
        odd = change.suite.is_pytest and change.odd_names
        yield Executor(
            path, sandbox, image, limits, cache, publish, tree, runner, change.folder, odd_names=odd
        )


def change_limits(limits: Limits, program_seconds: float, base: Outcomes) -> Limits:
    """Return the limits of a suite on the change: thrice the base's time, or a program's."""
    if base.stopped:
        return limits
    return replace(limits, seconds=max(program_seconds, math.ceil(_TIMES_THE_BASE * base.seconds)))


def is_tight(limits: Limits, base: Outcomes) -> bool:
    """Return whether the base's time set the limits of a suite on the change, which load may then exceed."""
    return base.known and _TIMES_THE_BASE * base.seconds > limits.seconds - 1


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
