"""A program on a terminal of its own: typed to, and read until it shows what a test waits for."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from forking import MAIN, ROOT, Forked

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")
PASTE = "\x1b[200~{}\x1b[201~"
"""A paste, as terminals send it to programs that asked for marks."""


class TerminalProgram:
    """An `autocode` command whose streams are a terminal."""

    def __init__(self, *arguments: object, env: Mapping[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 110, 0, 0))
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "NO_COLOR": "1"}
        variables |= {"PROMPT_TOOLKIT_NO_CPR": "1", **env}  # nobody here answers where the cursor is
        self.process = Forked(
            [MAIN, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=variables, cwd=cwd
        )
        os.close(theirs)
        self._shown, self._read = "", 0

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self._ours, text.encode())

    def expect(self, pattern: str, seconds: float = 60.0) -> str:
        """Read until the output after the last match has `pattern`. Return the output up to its end."""
        until = time.monotonic() + seconds
        while True:
            rest = ESCAPES.sub("", self._shown)[self._read :]
            if match := re.search(pattern, rest):
                self._read += match.end()
                return rest[: match.end()]
            ready, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no {pattern!r} within {seconds:.0f} s in {rest!r}"
            try:
                piece = os.read(self._ours, 65536)
            except OSError:
                piece = b""
            assert piece, f"the program ended without {pattern!r}: {rest!r}"
            self._shown += piece.decode(errors="replace")

    def press(self, key: str, pattern: str) -> str:
        """Send a key until `pattern` is shown, as between two inputs nothing reads it."""
        for _ in range(20):
            self.type(key)
            if select.select([self._ours], [], [], 3.0)[0]:
                with suppress(AssertionError):
                    return self.expect(pattern, 3.0)
        return self.expect(pattern)

    def close(self, key: str = "") -> int:
        """Wait for the end, and send `key` until it comes. Return the exit code."""
        with suppress(OSError):
            while True:
                self.type(key)
                while select.select([self._ours], [], [], 3.0 if key else None)[0]:
                    if not os.read(self._ours, 65536):
                        raise OSError
        os.close(self._ours)
        return self.process.wait(timeout=30)
