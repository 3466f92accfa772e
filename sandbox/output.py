"""The output of a program: decoded while it arrives, stored up to a limit, cut in the middle."""

import asyncio
from codecs import getincrementaldecoder
from secrets import token_hex

from sandbox.base import REPORT, OnText

_PREAMBLE_BYTES = 16_384
_FLOOD_SECONDS = 0.002


class Output:
    """Stdout and stderr of one run. Before `mark`, stderr belongs to the sandbox, not to the program."""

    def __init__(self, limit: int, on_output: OnText | None = None) -> None:
        self.mark = token_hex(16)
        self.started = asyncio.Event()
        self._limit = limit
        self._preamble = b""
        self._streams = {1: _CutStream(limit), 2: _CutStream(limit)}
        self._decoders = {fd: getincrementaldecoder("utf-8")("replace") for fd in (1, 2)}
        self._on_output = on_output
        self._published = 0

    async def take(self, fd: int, data: bytes) -> None:
        """Store data of stdout (1) or stderr (2)."""
        if fd == 2 and not self.started.is_set():
            data = self._after_mark(data)
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

    def text(self, limit: int) -> str:
        if self.size <= min(limit, 2 * self._half):
            return self._data.decode("utf-8", "replace")
        half = max(1, min(limit // 2, self._half))
        head, tail = self._data[:half], self._data[-half:]
        dropped = f"\n[{self.size - len(head) - len(tail)} bytes dropped]\n"
        return head.decode("utf-8", "replace") + dropped + tail.decode("utf-8", "replace")
