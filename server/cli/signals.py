"""Handlers for Ctrl-C and SIGTERM."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from server.cli.exit_codes import ExitCode


@contextmanager
def on_stop(handler: Callable[[], object]) -> Iterator[None]:
    """Call `handler` on Ctrl-C and SIGTERM inside the `with` block. Only the innermost block is called.

    Python runs signal handlers in the main thread, between any two instructions.
    """
    before = [
        (number, signal.signal(number, lambda *_: handler())) for number in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield
    finally:
        for number, previous in before:
            signal.signal(number, previous)


def exit_now() -> NoReturn:
    """End the process at once, without cleanup."""
    # print() may deadlock or raise inside a signal handler: the interrupted code may hold stderr's lock.
    os.write(2, b"\nStopped.\n")
    os._exit(ExitCode.UNVERIFIED)


def raise_interrupt() -> NoReturn:
    """Break off a prompt."""
    raise KeyboardInterrupt
