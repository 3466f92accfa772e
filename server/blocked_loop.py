"""A thread that notices when the event loop is blocked, and logs what blocks it."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from selectors import BaseSelector
from types import FrameType

from server.api.guard import log

BLOCKED_SECONDS = 0.25
"""Time without a turn of the event loop from which it counts as blocked."""

TURN_SECONDS = 0.05
"""Time between two signs of life."""

DEEPEST = 30
"""Frames of the loop's stack that are logged, the innermost ones."""

SHOWN, WAITING = 4, ("_worker", "wait", "select", "poll", "get", "run")
"""Frames of another thread's stack, and innermost functions of threads that only wait."""


@asynccontextmanager
async def watch_loop() -> AsyncIterator[None]:
    """Log one line for each time that the running event loop is blocked, with the stack at that moment."""
    watchdog = _Watchdog(asyncio.get_running_loop(), threading.get_ident())
    watchdog.turn()
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


class _Watchdog(threading.Thread):
    """The loop calls `turn` again and again. The thread looks whether it did."""

    def __init__(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._loop, self._loop_thread = loop, loop_thread
        self._last = self._reported = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()

    def turn(self) -> None:
        self._last = time.monotonic()
        self._timer = self._loop.call_later(TURN_SECONDS, self.turn)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(TURN_SECONDS):
            last = self._last
            silent = time.monotonic() - last
            if silent >= BLOCKED_SECONDS and last != self._reported and (stack := self._stack()):
                self._reported = last
                log.error("the event loop is blocked, for %.2f s so far: %s", silent, stack)

    def _stack(self) -> str:
        """Return the calls of the loop's thread in one line, empty if it only waits for a processor.

        Other threads follow that are at work, because one of them may keep the interpreter for itself.
        """
        frames = sys._current_frames()
        frame = frames.pop(self._loop_thread, None)
        if frame is None or isinstance(frame.f_locals.get("self"), BaseSelector):
            return ""
        frames.pop(threading.get_ident(), None)
        others = [_calls(other, SHOWN) for other in frames.values() if other.f_code.co_name not in WAITING]
        beside = f" (beside it: {'; '.join(others)})" if others else ""
        return _calls(frame, DEEPEST) + beside


def _calls(frame: FrameType, most: int) -> str:
    calls = traceback.extract_stack(frame)[-most:]
    return " > ".join(f"{call.filename}:{call.lineno} {call.name}" for call in calls)
