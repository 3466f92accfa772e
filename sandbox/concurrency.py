"""A limit on programs that run side by side."""

import asyncio
import os
from weakref import WeakKeyDictionary

# More programs than this would slow each other down until they reach their time limits.
MAX_PROGRAMS = min(16, max(4, 2 * (os.cpu_count() or 1)))

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def program_slot() -> asyncio.Semaphore:
    """Return the semaphore to hold while a program runs. Each event loop has its own."""
    return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MAX_PROGRAMS))
