"""Parse files in a restricted process, which is replaced if a file crashes it."""

import json
import selectors
import subprocess
import sys
import time
from pathlib import Path

from memory.chunks.syntax_parts import SyntaxPart

_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_START = f"import sys; sys.path.insert(0, {_ROOT!r}); from memory.chunks.worker import main; main()"
_WALL_SECONDS = 20.0
_FILES_EACH = 2_000  # the memory limit counts the whole process, so it starts afresh
_PIECE = 1 << 16


class Parser:
    """Runs one process at a time. Not for several threads at once. `broken` counts the files that failed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0
        self.broken = 0

    def close(self) -> None:
        """Stop the process. The next file starts another."""
        if process := self._process:
            self._process = None
            with process:  # closes its pipes and waits for its end
                process.kill()

    def parse(self, path: str, text: str) -> tuple[list[str], list[SyntaxPart]]:
        """Return the outline and the parts of a file that has a grammar, none if that crashed the process.

        An outline has one line for each definition. Parts are byte ranges of the UTF-8 text.
        """
        if self._answered >= _FILES_EACH:
            self.close()
        request = json.dumps([path, text]).encode() + b"\n"
        try:
            outline, parts = json.loads(self._ask(self._running(), request))
        except (OSError, ValueError):
            self.broken += 1
            self.close()
            return [], []
        self._answered += 1
        return outline, [(symbol, [(s, e) for s, e in ranges]) for symbol, ranges in parts]

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            self._answered = 0
            self._process = subprocess.Popen(  # noqa: S603  our own program, with an empty environment
                # -I keeps modules of the current folder, which may be the repository's, out of the process.
                [sys.executable, "-I", "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                bufsize=0,
            )
        return self._process

    def _ask(self, process: "subprocess.Popen[bytes]", request: bytes) -> bytes:
        """Write the request and read a line. Raises OSError if that takes too long or the process ends."""
        assert process.stdin and process.stdout  # noqa: S101  both are pipes
        deadline, answer, left = time.monotonic() + _WALL_SECONDS, b"", memoryview(request)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdin, selectors.EVENT_WRITE)
            selector.register(process.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                ready = selector.select(deadline - time.monotonic())
                if not ready:
                    raise TimeoutError("the parser does not answer")
                for key, _ in ready:
                    # Both pipes are served in turn, because a full one would block both processes.
                    if key.fileobj is process.stdin:
                        left = left[process.stdin.write(left[:4096]) :]
                        if not left:
                            selector.unregister(process.stdin)
                        continue
                    piece = process.stdout.read(_PIECE)
                    if not piece:
                        raise BrokenPipeError("the parser has ended")
                    answer += piece
        return answer
