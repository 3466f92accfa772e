"""One process writes an index at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path | None, seconds: float = 0.0) -> Iterator[bool]:
    """Hold a lock file if it is free within `seconds`; None is always free. It ends with the process."""
    if path is None:
        yield True
        return
    place = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield _taken(place, time.monotonic() + seconds)
    finally:
        os.close(place)


def _taken(place: int, late: float) -> bool:
    while True:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= late:
                return False
            time.sleep(0.05)
        else:
            return True
