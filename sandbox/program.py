"""One program in a sandbox: its command, limits and output, and its supervision until it has ended."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from sandbox.base import Limits, OnText, Result, SandboxError
from sandbox.output import Output
from sandbox.report import place_report, read_report
from sandbox.script import Stream

# More programs than this would slow each other down until they reach their time limits.
MAX_PROGRAMS = min(16, max(4, 2 * (os.cpu_count() or 1)))

KILLED = 128 + signal.SIGKILL
"""The exit code of a program that the sandbox killed."""

UNPACK_SECONDS = 120.0
"""Time limit for starting and unpacking, which the program's own limit does not include."""

_UNPACKED_MB_A_SECOND = 10
_DEATH_SECONDS = 30.0
_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def program_slot() -> asyncio.Semaphore:
    """Return the semaphore to hold while a program runs. Each event loop has its own."""
    return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MAX_PROGRAMS))


class Program:
    """A command with its files and limits. `seconds` is its running time alone, once it has ended.

    `report` is the path of the JUnit report, or empty.
    """

    def __init__(
        self,
        streams: Mapping[Stream, Iterable[bytes]],
        command: Sequence[str],
        limits: Limits,
        on_output: OnText | None = None,
        has_report: bool = True,
    ) -> None:
        """Set up a program. Without a report, REPORT in its command is text like any other."""
        self.streams = streams
        self.limits = limits
        self.command, self.report = place_report(command) if has_report else (list(command), "")
        self.output = Output(limits.output_bytes, on_output)
        self.seconds = 0.0
        self.timed_out = False

    @property
    def unpack_seconds(self) -> float:
        """The time limit for starting and unpacking, longer for a large workspace."""
        return UNPACK_SECONDS + self.limits.workspace_mb / _UNPACKED_MB_A_SECOND

    async def watch(
        self,
        sending: "asyncio.Future[None]",
        reading: "asyncio.Future[None]",
        kill: Callable[[], Awaitable[None]],
    ) -> None:
        """Wait until `reading` is done. Kill the program after its time, on an error or when cancelled.

        Raises SandboxError when the program never started, and the exception of `sending` if it failed.
        """
        for future in (sending, reading):
            future.add_done_callback(retrieve)
        try:
            await self._wait_for_start(sending, reading)
            started = time.monotonic()
            await asyncio.wait({reading}, timeout=self.limits.seconds)
            self.seconds, self.timed_out = time.monotonic() - started, not reading.done()
        finally:
            if not reading.done():
                await kill()
                await asyncio.wait({reading}, timeout=_DEATH_SECONDS)
            with suppress(OSError):  # a program may end without reading all of its files
                await sending
        if not reading.done():
            reading.cancel()
            raise SandboxError(f"the program could not be killed within {_DEATH_SECONDS:.0f} s")
        await reading

    async def _wait_for_start(self, sending: "asyncio.Future[None]", reading: "asyncio.Future[None]") -> None:
        mark: asyncio.Future[Any] = asyncio.ensure_future(self.output.started.wait())
        try:
            async with asyncio.timeout(self.unpack_seconds):
                await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    with suppress(OSError):
                        sending.result()
                await asyncio.wait({mark, reading}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise SandboxError(f"the files were not unpacked within {self.unpack_seconds:.0f} s") from None
        finally:
            mark.cancel()
        if self.output.started.is_set():
            return
        await reading
        preamble, size = self.output.preamble, self.limits.in_memory_mb
        if "No space left" in preamble or "Wrote only" in preamble:  # dd's and tar's words for a full disk
            raise does_not_fit(size)
        reason = preamble or "the sandbox printed no reason"
        raise SandboxError(f"the program could not be started: {reason}")

    async def result(self, exit_code: int, out_of_memory: bool, xml: bytes) -> Result:
        """Return the result. `xml` is the content of the report."""
        stdout, stderr = self.output.texts(self.report)
        report = await asyncio.to_thread(read_report, xml) if self.report else None
        cut, late = self.output.truncated, self.timed_out
        left = self.output.ending.left if self.output.ending else 0
        return Result(exit_code, stdout, stderr, self.seconds, late, out_of_memory, cut, report, left)


def does_not_fit(megabytes: int) -> SandboxError:
    """Return the error for files that take more than the workspace has."""
    return SandboxError(f"the files do not fit into the sandbox's workspace of {megabytes} MiB")


def retrieve(future: "asyncio.Future[Any]") -> None:
    """Retrieve the exception. A caller that is cancelled twice never does, and asyncio would log that."""
    if not future.cancelled():
        future.exception()


class Cleanup:
    """Background work that finishes even when its caller is cancelled: killing, removing, sweeping.

    It holds a reference to each task, because the event loop itself holds only weak ones.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, object]) -> "asyncio.Task[Any]":
        """Run the work in the background."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Run the work and wait for it. Cancelling ends the wait only. Raises what the work raises."""
        await asyncio.shield(self.start(work))

    async def wait(self) -> None:
        """Wait until all work is done, whether it succeeded or failed."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
