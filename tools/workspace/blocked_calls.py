"""A time limit for libgit2, which holds the interpreter while it waits for a pipe (FIFO).

A file may become a pipe between our look and libgit2's open. No thread of Python can run then, so the kernel
interrupts the call: a timer sends the thread a signal, and `open` fails.
"""

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


class _Place(threading.local):
    is_limited = False


_place = _Place()


def interrupt_blocked_calls() -> None:
    """Let `interruptible` work in this process. Does nothing outside of the main thread and of Linux."""
    if sys.platform == "linux":
        with suppress(ValueError):  # Python sets handlers in the main thread alone
            signal.signal(_signal(), _ignore)


@contextmanager
def interruptible() -> Iterator[None]:
    """Interrupt what blocks in the block for too long. It fails with an OSError or libgit2's error."""
    if _place.is_limited or sys.platform != "linux" or signal.getsignal(_signal()) is not _ignore:
        yield
        return
    timer = ctypes.c_void_p()
    notice = _Notice(None, _signal(), _TO_THREAD, threading.get_native_id())
    is_made = not _library().timer_create(_MONOTONIC, ctypes.byref(notice), ctypes.byref(timer))
    _place.is_limited = True
    try:
        if is_made:  # the user may have no timer left
            times = _Times(_AGAIN_SECONDS, 0, SECONDS, 0)
            _library().timer_settime(timer, 0, ctypes.byref(times), None)
        yield
    finally:
        if is_made:
            _library().timer_delete(timer)
        _place.is_limited = False


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _signal() -> int:
    return signal.SIGRTMAX - 2  # glibc keeps the first ones for itself


def _ignore(number: int, frame: object) -> None:
    """Do nothing. A handler is what lets the signal interrupt a call."""
