"""The content of large files. A process of its own inflates them, so that ours stays small and responsive."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

from tools.workspace.errors import WorkspaceError

LARGE = 4 * 2**20
"""Bytes of a file from which on it is not read as a whole."""

_PIECE = 2**20
_SECONDS = 300
_HELD = threading.Lock()  # libgit2 inflates a file as a whole, so one at a time is in memory

# libgit2 checks hashes with code of its own, which takes seven times as long as OpenSSL's.
# Answers each id with a line: the size of the blob, which is then in the file, or what is wrong.
_READER = """\
import hashlib, os, sys, pygit2
pygit2.settings.enable_strict_hash_verification(False)
pygit2.settings.mwindow_size, pygit2.settings.mwindow_mapped_limit = 1 << 25, 1 << 28
repo = pygit2.Repository()
repo.set_odb(pygit2.Odb(sys.argv[1]))
file = open(int(sys.argv[2]), "wb", buffering=0)
for line in sys.stdin:
    try:
        file.seek(0)
        file.truncate()
        id = line.strip()
        with memoryview(repo[id]) as data:
            hash = hashlib.sha1(b"blob %d\\0" % len(data), usedforsecurity=False)
            hash.update(data)
            if hash.hexdigest() != id:
                raise ValueError("its content has another hash")
            written = 0
            while written < len(data):
                written += file.write(data[written:written + (1 << 26)])
        print(written, flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"""


class LargeBlobs:
    """Reads large blobs of one object database, in one thread. The context ends the process."""

    def __init__(self, objects: Path) -> None:
        self._objects = objects
        self._process: subprocess.Popen[bytes] | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "LargeBlobs":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
        if self._file:
            self._file.close()

    def pieces(self, id: object) -> Iterator[bytes]:
        """Yield a blob in pieces of a megabyte. Raises WorkspaceError."""
        with _HELD:
            file, size = self._inflate(str(id))
        # Nothing is locked from here on, because the reader of the pieces may be slow, or stop.
        for start in range(0, size, _PIECE):
            yield os.pread(file.fileno(), min(_PIECE, size - start), start)

    def _inflate(self, id: str) -> tuple[IO[bytes], int]:
        """Write a blob to our file, and return the file with its size."""
        process, file = self._started()
        assert process.stdin and process.stdout  # noqa: S101  # both are pipes
        answer = b""
        with suppress(BrokenPipeError):
            process.stdin.write(f"{id}\n".encode())
            process.stdin.flush()
            if select.select([process.stdout], [], [], _SECONDS)[0]:
                answer = process.stdout.readline().strip()
        if not answer.isdigit():
            reason = answer.decode(errors="replace") or "its reader ended, or took too long"
            raise WorkspaceError(
                f"the file with the id {id} cannot be read by way of {gettempdir()}: {reason}. `git fsck` "
                "shows whether it is damaged"
            )
        return file, int(answer)

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        if self._process is None or self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115  # `__exit__` closes it
            fd = self._file.fileno()
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-I", "-c", _READER, str(self._objects), str(fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[fd],
            )
        return self._process, self._file
