"""What a program wrote: decoded while it comes, kept up to a cap, its middle dropped."""

import asyncio
from codecs import getincrementaldecoder
from collections.abc import Callable
from secrets import token_hex

from sandbox.base import REPORT

_PREAMBLE_BYTES = 16_384
_FLOOD_SECONDS = 0.002


class Output:
    """Both streams of one run. What comes before `mark` on stderr is the sandbox's own, not the program's."""

    def __init__(self, cap: int, on_output: Callable[[str], None] | None = None) -> None:
        self.mark = token_hex(16)
        self.started = asyncio.Event()
        self._cap = cap
        self._preamble = b""
        self._streams = {1: _Stream(cap), 2: _Stream(cap)}
        self._decoders = {fd: getincrementaldecoder("utf-8")("replace") for fd in (1, 2)}
        self._on_output = on_output
        self._heard = 0

    async def take(self, fd: int, data: bytes) -> None:
        """Take what came on stdout (1) or stderr (2); at leisure once it floods, or it would keep us busy."""
        self._feed(fd, data)
        if any(stream.size > self._cap for stream in self._streams.values()):
            await asyncio.sleep(_FLOOD_SECONDS)

    def _feed(self, fd: int, data: bytes) -> None:
        if fd == 2 and not self.started.is_set():
            data = self._after_mark(data)
        if not data:
            return
        self._streams[fd].feed(data)
        if self._on_output and self._heard < self._cap:
            text = self._decoders[fd].decode(data[: self._cap - self._heard])
            self._heard += len(data)
            self._on_output(text if self._heard < self._cap else f"{text}\n[further output is not shown]\n")

    def _after_mark(self, data: bytes) -> bytes:
        mark = f"{self.mark}\n".encode()
        self._preamble += data
        before, found, after = self._preamble.partition(mark)
        if found:
            self.started.set()
            self._preamble = before
        else:
            self._preamble = self._preamble[-_PREAMBLE_BYTES:]
        return after

    @property
    def preamble(self) -> str:
        """What the sandbox itself complained of before the program began."""
        return self._preamble.decode("utf-8", "replace").strip()

    @property
    def truncated(self) -> bool:
        """True when something had to be dropped."""
        return sum(stream.size for stream in self._streams.values()) > self._cap

    def texts(self, report: str = "") -> tuple[str, str]:
        """Stdout and stderr, which share the cap: one may use what the other leaves.

        The random path `report` reads REPORT again, so that equal runs read equal.
        """
        sizes = self._streams[1].size, self._streams[2].size
        rooms = (max(self._cap // 2, self._cap - size) for size in reversed(sizes))
        out, err = (stream.text(room) for stream, room in zip(self._streams.values(), rooms, strict=True))
        return (out.replace(report, REPORT), err.replace(report, REPORT)) if report else (out, err)


class _Stream:
    """The first and the last half a cap of what was written."""

    def __init__(self, cap: int) -> None:
        self.size = 0
        self._half = max(1, cap // 2)
        self._head = bytearray()
        self._tail = bytearray()

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 4 * self._half:
            del self._tail[: -self._half]

    def text(self, room: int) -> str:
        if self.size <= min(room, 2 * self._half):
            return (self._head + self._tail).decode("utf-8", "replace")
        half = max(1, min(room // 2, self._half))
        head, tail = self._head[:half], (self._head + self._tail)[-half:]
        dropped = self.size - len(head) - len(tail)
        return (
            head.decode("utf-8", "replace")
            + f"\n[{dropped} bytes dropped]\n"
            + tail.decode("utf-8", "replace")
        )
