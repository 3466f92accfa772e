"""The share of the time that background work takes."""

import time
from threading import Event

QUICK_SECONDS = 0.5
"""Work that is not slowed. A small folder is read within it."""

_LONGEST_PAUSE = 5.0


class Pace:
    """Slows one thread's work to a share of the time, 1 for all of it. `closing` ends every pause."""

    def __init__(self, share: float, closing: Event) -> None:
        self._share, self._closing = share, closing
        self._quick = QUICK_SECONDS
        self._began = time.monotonic()

    def begin(self) -> None:
        """Count from now on."""
        self._began = time.monotonic()

    def pause(self) -> bool:
        """Pause for the work since the last call. Return True if the index is closing."""
        worked = time.monotonic() - self._began
        slowed = max(worked - self._quick, 0.0)
        self._quick = max(self._quick - worked, 0.0)
        pause = slowed * (1 / self._share - 1)
        self._closing.wait(min(pause, _LONGEST_PAUSE))
        self.begin()
        return self._closing.is_set()
