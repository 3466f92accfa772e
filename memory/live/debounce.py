"""Paths that may have changed, gathered until it is worth looking."""

import time
from dataclasses import dataclass
from threading import Condition

QUIET = 0.25
"""Seconds without a new mark after which it is time to look."""

LONGEST = 2.0
"""Seconds after which it is time to look although marks keep coming."""

MANY = 200
"""Marked paths beyond which the whole folder is looked through."""


@dataclass(frozen=True)
class Dirt:
    """Where to look: these paths, or everywhere."""

    paths: frozenset[str] = frozenset()
    everywhere: bool = False


class Pile:
    """Where marks are put by one thread and taken by another."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._paths: set[str] = set()
        self._everywhere = False
        self._first: float | None = None
        self._last = 0.0
        self._closed = False

    def mark(self, *paths: str) -> None:
        """Note paths that may have changed; none at all means that anything may."""
        with self._changed:
            self._last = time.monotonic()
            if self._first is None:
                self._first = self._last
                self._changed.notify_all()
            self._paths.update(paths)
            if not paths or len(self._paths) > MANY:
                self._everywhere = True
                self._paths.clear()

    def take(self, timeout: float) -> Dirt:
        """Wait until marks came and it got quiet, and take them; none within `timeout` seconds is no dirt."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._first is not None, timeout)
            while self._first is not None and not self._closed:
                left = min(self._last + QUIET, self._first + LONGEST) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            dirt = Dirt(frozenset(self._paths), self._everywhere)
            self._paths.clear()
            self._everywhere, self._first = False, None
            return dirt

    def close(self) -> None:
        """Let whoever waits go on at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
