"""What Ctrl-C and SIGTERM do: whatever the innermost `stopping` says."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from server.cli.exit_codes import ExitCode


@contextmanager
def on_stop(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` for Ctrl-C and SIGTERM, in the main thread, between any two instructions."""
    before = [
        (number, signal.signal(number, lambda *_: stop())) for number in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def exit_now() -> NoReturn:
    """End the process at once: nothing is running whose end would be worth waiting for."""
    os.write(2, b"\nStopped.\n")
    os._exit(ExitCode.UNVERIFIED)


def raise_interrupt() -> NoReturn:
    """Break off a question."""
    raise KeyboardInterrupt
