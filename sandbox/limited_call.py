"""A blocking call that its caller gives up after some time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from sandbox.base import SandboxError

Called = TypeVar("Called")


async def limited_call(seconds: float, work: str, function: Callable[[], Called]) -> Called:
    """Return the result of `function`. Raises SandboxError after some seconds, which names the `work`.

    The thread is abandoned then. It does not keep the process from ending, as one of an executor would.
    """
    result = Future[Called]()
    result.set_running_or_notify_cancel()  # what the thread sets is then never refused

    def call() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # the caller gets it
            result.set_exception(error)

    # As asyncio.to_thread does: what the function tells is published in the context of its node.
    threading.Thread(target=copy_context().run, args=(call,), name=work, daemon=True).start()
    try:
        async with asyncio.timeout(seconds) as clock:
            return await asyncio.wrap_future(result)
    except TimeoutError:
        if not clock.expired():
            raise
        raise SandboxError(f"{work} did not end within {seconds:.0f} s; is the engine stuck?") from None
