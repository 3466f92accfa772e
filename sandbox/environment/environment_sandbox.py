"""A sandbox whose programs run in an environment."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain

from sandbox.base import Delta, Layer, LeaveOut, Limits, OnText, Result, Sandbox, Session, SessionChanges
from sandbox.environment.backend import Environment

# The sandbox's own PATH stays behind the environment's.
_SCRIPT = 'export PATH="$0$PATH"; exec env "$@"'


class EnvironmentSandbox:
    """A sandbox of a backend, with the environment's files, variables and limits. Implements `Sandbox`."""

    def __init__(self, sandbox: Sandbox, environment: Environment, maximum: Limits) -> None:
        self._sandbox = sandbox
        self._environment = environment
        self._maximum = maximum
        self._generated_mb = environment.generated_mb

    @property
    def name(self) -> str:
        return self._sandbox.name

    async def identity(self) -> str:
        return f"{await self._sandbox.identity()}, environment {self._environment.key}"

    def prepare(self, count: int = 1) -> None:
        self._sandbox.prepare(count)

    async def run(
        self, files: Iterable[bytes], command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        tree = chain(self._environment.members(), files)
        return await self._sandbox.run(tree, self.command(command), self.limits(limits), on_output)

    async def kept_layers(self) -> Sequence[str]:
        kept, end = await self._sandbox.kept_layers(), self._end_of_keys
        return [key.removesuffix(end) for key in kept if key.endswith(end)]

    @asynccontextmanager
    async def layer(self, files: Iterable[bytes], limits: Limits, key: str = "") -> AsyncIterator[Layer]:
        """Keep the environment's generated files and the tree."""
        tree = chain(self._environment.members(), files)
        async with self._sandbox.layer(tree, self.limits(limits), self._key(key)) as layer:
            yield _EnvironmentLayer(self, layer)

    def _key(self, key: str) -> str:
        return f"{key}{self._end_of_keys}" if key else ""

    @property
    def _end_of_keys(self) -> str:
        """The part of a key that tells trees with generated files from others."""
        return f" {self._environment.key}" if self._generated_mb else ""

    @asynccontextmanager
    async def session(self, files: Iterable[bytes], limits: Limits, key: str = "") -> AsyncIterator[Session]:
        """Begin with the environment's generated files and the tree: neither counts as a change."""
        tree = chain(self._environment.members(), files)
        async with self._sandbox.session(tree, self.limits(limits), self._key(key)) as session:
            yield _EnvironmentSession(self, session)

    async def aclose(self) -> None:
        await self._sandbox.aclose()

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` with the environment's PATH and variables."""
        path = "".join(f"{folder}:" for folder in self._environment.path)
        variables = (f"{name}={value}" for name, value in self._environment.variables)
        return ["sh", "-c", _SCRIPT, path, *variables, *command]

    def limits(self, limits: Limits) -> Limits:
        """Return the limits with the memory and the processors that the environment asks for."""
        asked, maximum = self._environment, self._maximum
        return replace(
            limits,
            memory_mb=min(asked.memory_mb, maximum.memory_mb) if asked.memory_mb else limits.memory_mb,
            cpus=min(asked.cpus, maximum.cpus) if asked.cpus else limits.cpus,
            workspace_mb=limits.workspace_mb + self._generated_mb,
        )


@dataclass(frozen=True)
class _EnvironmentLayer:
    """A tree in a sandbox with an environment. Implements `Layer`."""

    sandbox: EnvironmentSandbox
    layer: Layer

    async def run(
        self, delta: Delta, command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        return await self.layer.run(
            delta, self.sandbox.command(command), self.sandbox.limits(limits), on_output
        )


@dataclass(frozen=True)
class _EnvironmentSession:
    """A session in a sandbox with an environment. Implements `Session`."""

    sandbox: EnvironmentSandbox
    session: Session

    async def run(
        self, command: Sequence[str], limits: Limits | None = None, on_output: OnText | None = None
    ) -> Result:
        return await self.session.run(self.sandbox.command(command), limits, on_output)

    async def read(self, path: str) -> bytes | None:
        return await self.session.read(path)

    async def write(self, path: str, content: bytes) -> None:
        await self.session.write(path, content)

    async def changes(self, leave_out: LeaveOut | None = None) -> SessionChanges:
        return await self.session.changes(leave_out)
