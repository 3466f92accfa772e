"""Watches one run from its first byte to its end, in time or killed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sandbox.base import Limits, SandboxError
from sandbox.output import Output

UNPACK_SECONDS = 120.0
"""How long starting and unpacking may take, which the program's own limit does not cover."""

_DEATH_SECONDS = 30.0


@dataclass(frozen=True)
class Watched:
    """How long the program alone ran, and whether its time ran out."""

    seconds: float
    timed_out: bool


async def watch(
    output: Output,
    sending: "asyncio.Future[None]",
    reading: "asyncio.Future[None]",
    limits: Limits,
    kill: Callable[[], Awaitable[None]],
) -> Watched:
    """Wait until `reading` has seen everything; kill when the time is over, on an error or when cancelled.

    Raises SandboxError when the program never began, and whatever made `sending` fail.
    """
    for future in (sending, reading):
        future.add_done_callback(_heed)
    try:
        await _start(output, sending, reading, limits)
        began = time.monotonic()
        await asyncio.wait({reading}, timeout=limits.seconds)
        watched = Watched(time.monotonic() - began, timed_out=not reading.done())
    finally:
        if not reading.done():
            await kill()
            await asyncio.wait({reading}, timeout=_DEATH_SECONDS)
        with suppress(OSError):
            await sending
    if not reading.done():
        reading.cancel()
        raise SandboxError(f"the program would not die within {_DEATH_SECONDS:.0f} s")
    await reading
    return watched


def _heed(future: "asyncio.Future[None]") -> None:
    """Look at the outcome, as one who is cancelled twice never does."""
    if not future.cancelled():
        future.exception()


async def _start(
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
        raise SandboxError(_complaint(output.preamble, limits))


def _complaint(preamble: str, limits: Limits) -> str:
    if "No space left" in preamble or "Wrote only" in preamble:
        return f"the files do not fit into the sandbox's workspace of {limits.workspace_mb} MiB"
    return f"the program could not be started: {preamble or 'the sandbox said nothing'}"
