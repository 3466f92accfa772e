"""The output of a program: decoded while it arrives, stored up to a limit, cut in the middle."""

import asyncio
import re
from codecs import getincrementaldecoder
from secrets import token_hex
from typing import NamedTuple

from sandbox.base import REPORT, OnText
from sandbox.script import end_mark

_PREAMBLE_BYTES = 16_384
_FLOOD_SECONDS = 0.002
_ENDING = re.compile(rb" (\d{1,6}) (\d{1,6}) (\d{1,3})\n")


class ScriptEnding(NamedTuple):
    """The script's last words: the numbers of processes left running and out of memory, and the exit code."""

    left: int
    ooms: int
    exit_code: int


class Output:
    """Stdout and stderr of one run.

    On stderr, the program's own output lies between two marks. What comes before and after is the sandbox's.
    """

    def __init__(self, limit: int, on_output: OnText | None = None) -> None:
        self.mark = token_hex(16)
        self.started = asyncio.Event()
        self._limit = limit
        self._preamble = b""
        self._end = end_mark(self.mark).encode()
        self._held = b""
        self._streams = {1: _CutStream(limit), 2: _CutStream(limit)}
        self._decoders = {fd: getincrementaldecoder("utf-8")("replace") for fd in (1, 2)}
        self._on_output = on_output
        self._published = 0

    async def take(self, fd: int, data: bytes) -> None:
        """Store data of stdout (1) or stderr (2)."""
        if fd == 2:
            data = self._before_end(data if self.started.is_set() else self._after_mark(data))
        self._streams[fd].feed(data)
        if data and self._on_output and self._published < self._limit:
            text = self._decoders[fd].decode(data[: self._limit - self._published])
            self._published += len(data)
            is_last = self._published >= self._limit
            self._on_output(f"{text}\n[further output is not shown]\n" if is_last else text)
        if any(stream.size > self._limit for stream in self._streams.values()):
            await asyncio.sleep(_FLOOD_SECONDS)  # a program that only prints would keep the event loop busy

    def _after_mark(self, data: bytes) -> bytes:
        self._preamble += data
        before, mark, after = self._preamble.partition(f"{self.mark}\n".encode())
        if mark:
            self.started.set()
            self._preamble = before
        else:
            self._preamble = self._preamble[-_PREAMBLE_BYTES:]
        return after

    def _before_end(self, data: bytes) -> bytes:
        """Hold back the end mark and what follows it, and what may turn out to be the mark's beginning."""
        data = self._held + data
        at = data.find(self._end)
        if at < 0:
            longest = min(len(data), len(self._end) - 1)
            at = len(data) - next((n for n in range(longest, 0, -1) if data.endswith(self._end[:n])), 0)
        self._held = data[at : at + _PREAMBLE_BYTES]
        return data[:at]

    @property
    def ending(self) -> ScriptEnding | None:
        """Return the script's last words, None if the program was killed together with its shell."""
        found = _ENDING.match(self._held, len(self._end)) if self._held.startswith(self._end) else None
        return ScriptEnding(*map(int, found.groups())) if found else None

    @property
    def stdout(self) -> bytes | None:
        """Return stdout as it was written. None when it is longer than the limit."""
        return self._streams[1].whole if self._streams[1].size <= self._limit else None

    @property
    def preamble(self) -> str:
        """Messages of the sandbox itself, from before the program started."""
        return self._preamble.decode("utf-8", "replace").strip()

    @property
    def truncated(self) -> bool:
        """True when output was dropped."""
        return sum(stream.size for stream in self._streams.values()) > self._limit

    def texts(self, report: str = "") -> tuple[str, str]:
        """Return stdout and stderr. They share the limit: each may use what the other leaves.

        REPORT replaces the random path `report`, so that equal runs give equal texts.
        """
        if not self._held.startswith(self._end):
            held, self._held = self._held, b""
            self._streams[2].feed(held)
        sizes = self._streams[1].size, self._streams[2].size
        limits = (max(self._limit // 2, self._limit - size) for size in reversed(sizes))
        out, err = (stream.text(limit) for stream, limit in zip(self._streams.values(), limits, strict=True))
        return (out.replace(report, REPORT), err.replace(report, REPORT)) if report else (out, err)


class _CutStream:
    """The beginning and the end of a stream, each of half the limit."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._half = max(1, limit // 2)
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        self._data += data
        if len(self._data) > 6 * self._half:  # cut rarely, because each cut copies the end
            del self._data[self._half : -self._half]

    @property
    def whole(self) -> bytes | None:
        """Return the stream, or None when it was cut."""
        return bytes(self._data) if len(self._data) == self.size else None

    def text(self, limit: int) -> str:
        if self.size <= min(limit, 2 * self._half):
            return self._data.decode("utf-8", "replace")
        half = max(1, min(limit // 2, self._half))
        head, tail = self._data[:half], self._data[-half:]
        dropped = f"\n[{self.size - len(head) - len(tail)} bytes dropped]\n"
        return head.decode("utf-8", "replace") + dropped + tail.decode("utf-8", "replace")
