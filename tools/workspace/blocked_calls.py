"""A time limit for libgit2, which holds the interpreter while it waits for a pipe (FIFO).

A file may become a pipe between our look and libgit2's open. No thread of Python can run then, so the kernel
interrupts the call: a timer sends the thread a signal, and `open` fails.
"""

import ctypes
import signal
import sys
import threading
from functools import cache

SECONDS = 20
"""Time until a call is interrupted. Files of local disks are never interrupted, so slow work goes on."""

_AGAIN_SECONDS = 1  # libgit2 may go on to the next file
_MONOTONIC, _TO_THREAD = 1, 4  # CLOCK_MONOTONIC, SIGEV_THREAD_ID


class _Times(ctypes.Structure):
    _fields_ = (
        ("interval", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("value", ctypes.c_long),
        ("value_nanoseconds", ctypes.c_long),
    )


class _Notice(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("padding", ctypes.c_int * 12),
    )


class _Timer:
    """A timer that interrupts the thread that makes it. It ends with the thread."""

    def __init__(self) -> None:
        self._id = ctypes.c_void_p()
        notice = _Notice(None, _signal(), _TO_THREAD, threading.get_native_id())
        # The user may have no timer left.
        self._is_made = not _library().timer_create(_MONOTONIC, ctypes.byref(notice), ctypes.byref(self._id))

    def __del__(self) -> None:
        if self._is_made:
            _library().timer_delete(self._id)

    def set(self, seconds: int) -> None:
        """Interrupt the thread after some seconds, and again each second. 0 stops that."""
        if self._is_made:
            times = _Times(_AGAIN_SECONDS, 0, seconds, 0)
            _library().timer_settime(self._id, 0, ctypes.byref(times), None)


class _Place(threading.local):
    depth = 0
    timer: _Timer | None = None


_place = _Place()


class interruptible:  # used as a function
    """Interrupt what blocks in the block for too long. It fails with an OSError or libgit2's error.

    Does nothing on other systems than Linux, or if the program itself handles the signal.
    """

    def __enter__(self) -> None:
        if not _place.depth and _has_handler():
            _place.timer = _place.timer or _Timer()
            _place.timer.set(SECONDS)
        _place.depth += 1

    def __exit__(self, *_: object) -> None:
        _place.depth -= 1
        if not _place.depth and _place.timer:
            _place.timer.set(0)


@cache
def _has_handler() -> bool:
    """Set a handler that does nothing, for only a signal that has one interrupts a call.

    Python's own function for it works in the main thread alone, which is another program's in Studio.
    """
    if sys.platform != "linux":
        return False
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.restype = put.restype = ctypes.c_void_p
    put.argtypes = (ctypes.c_int, ctypes.c_void_p)
    handler = ctypes.cast(_library().abs, ctypes.c_void_p).value
    known = get(_signal())
    if not known:
        put(_signal(), handler)
    return known in (None, handler)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _signal() -> int:
    return signal.SIGRTMAX - 2  # glibc keeps the first ones for itself
