"""A blocking call that its caller gives up after some time."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sandbox.base import SandboxError

Called = TypeVar("Called")


async def limited_call(seconds: float, work: str, function: Callable[[], Called]) -> Called:
    """Return the result of `function`. Raises SandboxError after some seconds, which names the `work`.

    The thread is abandoned then. It does not keep the process from ending, as one of an executor would.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Called] = loop.create_future()

    def settle(value: Called | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # there is a value where there is no error

    def call() -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as raised:  # the caller gets it
            error = raised
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=call, name=work, daemon=True).start()
    try:
        async with asyncio.timeout(seconds) as clock:
            return await result
    except TimeoutError:
        if not clock.expired():
            raise
        raise SandboxError(f"{work} did not end within {seconds:.0f} s; is the engine stuck?") from None
