"""How many programs run side by side: more of them would slow each other into their time-outs."""

import asyncio
import os
from weakref import WeakKeyDictionary

AT_ONCE = min(16, max(4, 2 * (os.cpu_count() or 1)))


class Room:
    """Room for AT_ONCE programs of all runs together; any event loop may use it, each has its own."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def here(self) -> asyncio.Semaphore:
        """Held while a program runs."""
        return self._of.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
