"""A container that runs the programs of a session, one after another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from sandbox.base import Result, SandboxError
from sandbox.docker.container import Container, Execution
from sandbox.program import Program, program_slot
from sandbox.script import Stream, run_script

_STOP_SECONDS = 10.0
_SIGNALS = 128  # exit codes from here on
_GONE = (
    "the session has ended, because its container was stopped or its programs could not be; start a new one"
)


class Execute(Protocol):
    """Runs a program in a container and returns its exit code. `kill` must end all of its processes."""

    async def __call__(
        self,
        container: Container,
        program: Program,
        command: Sequence[str],
        kill: Callable[[Execution], Awaitable[None]],
    ) -> int: ...


class SessionContainer:
    """Runs programs in a container of its own. Nothing of one program runs when the next one starts."""

    def __init__(self, container: Container, execute: Execute, call: Callable[..., Awaitable[Any]]) -> None:
        self._container = container
        self._execute = execute
        self._call = call
        self._ooms = 0
        self._is_gone = False

    async def run(self, program: Program) -> Result:
        """Run a program once there is a free slot. Raises SandboxError when the container is gone."""
        async with program_slot():
            if self._is_gone:
                raise SandboxError(_GONE)
            stoppable: tuple[Stream, ...] = () if "input" in program.streams else ("orders",)
            command = run_script(program.command, program.output.mark, [*program.streams, *stoppable])
            try:
                exit_code = await self._execute(self._container, program, command, self._kill)
            except SandboxError as error:
                await self._raise_if_gone(error)
                raise
            ending = program.output.ending
            # A shell that ended by a signal, or by another code than it wrote, may have stopped nothing.
            is_ended = ending and ending.exit_code == exit_code < _SIGNALS
            ooms = ending.ooms if ending and is_ended else await self._stop()
            ran_out, self._ooms = ooms > self._ooms or self._container.outgrown, ooms
        return await program.result(exit_code, ran_out, b"")

    async def _kill(self, execution: Execution) -> None:
        # The script has a process that waits for a line. An execution would need room for a new one.
        with suppress(SandboxError):
            await self._call(execution.send, b"\n")
        with suppress(SandboxError):
            await self._stop()

    async def _stop(self) -> int:
        """Kill every program, and the container if that fails. Returns the number of OOMs in total."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return int(await self._call(self._container.stop_programs))
        except (SandboxError, TimeoutError) as error:
            self._is_gone = True
            await self._call(self._container.kill)
            raise SandboxError(_GONE) from error

    async def _raise_if_gone(self, error: SandboxError) -> None:
        if self._is_gone or not await self._call(self._container.state, "Running"):
            self._is_gone = True
            raise SandboxError(_GONE) from error
