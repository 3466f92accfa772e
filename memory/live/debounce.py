"""Collect paths that may have changed until no more arrive."""

import time
from dataclasses import dataclass
from threading import Condition

QUIET_SECONDS = 0.25
"""Time without a new path after which the paths are taken."""

LONGEST_SECONDS = 2.0
"""Time after which the paths are taken although more keep arriving."""

MANY = 200
"""Number of paths beyond which the whole folder is read."""


@dataclass(frozen=True)
class ChangedPaths:
    """The paths to read, or everything."""

    paths: frozenset[str] = frozenset()
    everything: bool = False


class Debouncer:
    """Paths that one thread marks and another takes."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._paths: set[str] = set()
        self._everything = False
        self._first: float | None = None
        self._last = 0.0
        self._closed = False

    def mark(self, *paths: str) -> None:
        """Add paths that may have changed. No path at all means that anything may have."""
        with self._changed:
            self._last = time.monotonic()
            if self._first is None:
                self._first = self._last
                self._changed.notify_all()
            self._paths.update(paths)
            if not paths or len(self._paths) > MANY:
                self._everything = True
                self._paths.clear()

    def take(self, timeout: float) -> ChangedPaths:
        """Wait until paths were marked and no more arrive. Return no path after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._first is not None, timeout)
            while self._first is not None and not self._closed:
                left = min(self._last + QUIET_SECONDS, self._first + LONGEST_SECONDS) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            changed = ChangedPaths(frozenset(self._paths), self._everything)
            self._paths.clear()
            self._everything, self._first = False, None
            return changed

    def close(self) -> None:
        """Let `take` return at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
