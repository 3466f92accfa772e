"""One changed file on base and change, with its Python code if it has any."""

import ast
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

MOST_BYTES = 500_000

_COOKIE = re.compile(rb"^[ \t\f]*#.{0,200}?coding[:=][ \t]*([-\w.]+)")
_CODECS = re.compile(
    r"(?:utf[-_]?8(?:-sig|-unix)?|(?:us-)?ascii|latin[-_]?1|iso[-_]?8859[-_]15?|cp125\d)$", re.I
)


class UnreadableSource(Exception):
    """A source cannot be examined. The message says why."""


@dataclass(frozen=True)
class FileVersions:
    """The contents of a file on both sides, None where it is missing or too large."""

    path: str
    before: bytes | None
    after: bytes | None

    @cached_property
    def old_lines(self) -> list[str]:
        """The lines of the base."""
        return _text(self.before).splitlines()

    @cached_property
    def new_lines(self) -> list[str]:
        """The lines of the change."""
        return _text(self.after).splitlines()

    @cached_property
    def first_change(self) -> int:
        """The first line of the change that differs from the base, counted from 1."""
        same = 0
        for old, new in zip(self.old_lines, self.new_lines, strict=False):
            if old != new:
                break
            same += 1
        return max(1, min(same + 1, len(self.new_lines)))

    def added_lines(self) -> list[tuple[int, str]]:
        """Return the lines that the base's file does not hold, with their numbers."""
        known = Counter(line.strip() for line in self.old_lines)
        added = []
        for number, line in enumerate(self.new_lines, 1):
            if known[line.strip()]:
                known[line.strip()] -= 1
            elif line.strip():
                added.append((number, line))
        return added

    def removed_count(self) -> int:
        """Return the number of lines that the change's file does not hold any more."""
        lost = Counter(line.strip() for line in self.old_lines if line.strip())
        lost.subtract(line.strip() for line in self.new_lines)
        return sum(count for count in lost.values() if count > 0)


def parse(data: bytes) -> ast.Module:
    """Parse a Python source. Raises UnreadableSource."""
    if len(data) > MOST_BYTES:
        raise UnreadableSource("is too large to be examined")
    for line in data.split(b"\n", 2)[:2]:
        cookie = _COOKIE.match(line)
        if cookie and not _CODECS.match(cookie[1].decode("latin-1")):
            raise UnreadableSource(f"is encoded as {cookie[1].decode('latin-1')[:40]}, which hides its code")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of escapes in foreign sources
            return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError, LookupError) as error:
        raise UnreadableSource("cannot be parsed, so nobody knows what it does") from error


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")
