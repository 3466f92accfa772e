"""A cache of the values that were used last."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Kept = TypeVar("Kept")


class Recent(Generic[Key, Kept]):
    """The values that were used last, for all threads. Their weights add up to `most` at most."""

    def __init__(self, most: int, weigh: Callable[[Kept], int] = lambda _: 1) -> None:
        self._most, self._weigh = most, weigh
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> Kept | None:
        """Return the value of a key, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, value: Kept) -> None:
        """Keep a value instead of the key's former one. A value that is too heavy alone is not kept."""
        weight = self._weigh(value)
        with self._lock:
            if key in self._kept:
                self._weight -= self._weigh(self._kept.pop(key))
            if weight <= self._most:
                self._kept[key] = value
                self._weight += weight
            while self._weight > self._most:
                self._weight -= self._weigh(self._kept.popitem(last=False)[1])
