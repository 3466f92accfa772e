"""Layers that are kept as a tar archive, and sent to each run."""

import mmap
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from tempfile import TemporaryFile, gettempdir

from sandbox.base import Delta, Limits, OnText, Result, SandboxError
from sandbox.program import Program
from sandbox.script import delta_streams

_PIECE_BYTES = 1_000_000


class PackedLayer:
    """An archive that each run unpacks. Implements `Layer`."""

    def __init__(self, archive: Iterable[bytes], run: Callable[[Program], Awaitable[Result]]) -> None:
        self._archive = archive
        self._run = run

    async def run(
        self, delta: Delta, command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        streams = {"tree": self._archive, **delta_streams(delta)}
        return await self._run(Program(streams, command, limits, on_output))


class StoredArchive:
    """A tar stream in a file without a name, which can be read many times."""

    def __init__(self, files: Iterable[bytes]) -> None:
        """Read a stream to its end. Raises SandboxError when there is no space for it."""
        with TemporaryFile() as file:
            for piece in files:
                try:
                    file.write(piece)
                except OSError as error:
                    raise SandboxError(
                        f"the files cannot be kept in {gettempdir()}: {error}; free space, or set TMPDIR"
                    ) from error
            file.flush()
            # A mapping outlives its file, and a reader that lags behind never meets a closed descriptor.
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), _PIECE_BYTES):
            yield self._data[start : start + _PIECE_BYTES]
