"""Supervision of one run: wait until the program has started and ended, or kill it when its time is over."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sandbox.base import Limits, SandboxError
from sandbox.output import Output

UNPACK_SECONDS = 120.0
"""Time limit for starting and unpacking, which the program's own limit does not include."""

_DEATH_SECONDS = 30.0


@dataclass(frozen=True)
class Watched:
    """The running time of the program alone, and whether it reached its limit."""

    seconds: float
    timed_out: bool


async def watch(
    output: Output,
    sending: "asyncio.Future[None]",
    reading: "asyncio.Future[None]",
    limits: Limits,
    kill: Callable[[], Awaitable[None]],
) -> Watched:
    """Wait until `reading` is done. Kill the program when its time is over, on an error or when cancelled.

    Raises SandboxError when the program never started, and the exception of `sending` if it failed.
    """
    for future in (sending, reading):
        future.add_done_callback(_retrieve)
    try:
        await _wait_for_start(output, sending, reading, limits)
        started = time.monotonic()
        await asyncio.wait({reading}, timeout=limits.seconds)
        watched = Watched(time.monotonic() - started, timed_out=not reading.done())
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
    return watched


def _retrieve(future: "asyncio.Future[None]") -> None:
    """Retrieve the exception. A caller that is cancelled twice never does, and asyncio would log that."""
    if not future.cancelled():
        future.exception()


async def _wait_for_start(
    output: Output, sending: "asyncio.Future[None]", reading: "asyncio.Future[None]", limits: Limits
) -> None:
    mark: asyncio.Future[Any] = asyncio.ensure_future(output.started.wait())
    try:
        async with asyncio.timeout(UNPACK_SECONDS):
            await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                with suppress(OSError):
                    sending.result()
            await asyncio.wait({mark, reading}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        raise SandboxError(f"the files were not unpacked within {UNPACK_SECONDS:.0f} s") from None
    finally:
        mark.cancel()
    if not output.started.is_set():
        await reading
        raise SandboxError(_explain(output.preamble, limits))


def _explain(preamble: str, limits: Limits) -> str:
    if "No space left" in preamble or "Wrote only" in preamble:  # dd's and tar's words for a full disk
        return f"the files do not fit into the sandbox's workspace of {limits.workspace_mb} MiB"
    return f"the program could not be started: {preamble or 'the sandbox printed no reason'}"
