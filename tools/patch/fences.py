"""Extraction of a diff from a reply: from code fences, after prose, or indented as a whole."""

import re
from bisect import bisect_right
from collections.abc import Sequence

_FENCE = re.compile(r"^([ \t]*)(`{3,}+|~{3,}+)[ \t]*+([\w+.#-]*+)[ \t]*$")


def unfence(lines: list[str]) -> tuple[list[str], bool]:
    """Return the contents of fenced diffs, or all lines, and whether a fence was left open."""
    kept: list[str] = []
    is_open = False
    following = _Following(lines)
    i = 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        if fence:
            end = _closing(lines, i + 1, fence[1], fence[2], following)
            block = _inner(lines[i + 1 : end], fence[1])
            if any(_begins(block, k) for k in range(len(block))):
                kept += block
                is_open = end == len(lines)
            i = end + 1
        elif not kept and _begins(lines, i):
            return lines, False
        else:
            i += 1
    return kept or lines, is_open


def _inner(lines: list[str], indent: str) -> list[str]:
    """Return a fence's lines without its indentation, if the diff has it too.

    In a fence of a list item, some models do not indent the diff. Its context lines begin with a blank.
    """
    first = next((k for k in range(len(lines)) if _begins(lines, k)), 0)
    if not all(line.startswith(indent) for line in lines[first:] if line.strip()):
        return lines
    return [line.removeprefix(indent) for line in lines]


class _Following:
    """The hunks after each line, found in one pass, because a reply may hold any number of fences."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._hunks: dict[str, list[int]] = {}
        self._named = [len(lines)] * (len(lines) + 1)  # the next fence with a language
        for k in range(len(lines) - 1, -1, -1):
            plain = lines[k].lstrip(" \t")
            fence = _FENCE.match(lines[k])
            self._named[k] = k if fence and fence[3] else self._named[k + 1]
            if plain.startswith("@@ "):
                self._hunks.setdefault(lines[k][: len(lines[k]) - len(plain)], []).append(-k)

    def has_hunk(self, i: int, indent: str) -> bool:
        """Return whether a hunk with this indentation follows before a fence with a language opens."""
        hunks = self._hunks.get(indent, [])
        at = bisect_right(hunks, -i)  # they are negative, the last one first
        return at > 0 and -hunks[at - 1] < self._named[i]


def _closing(lines: Sequence[str], i: int, indent: str, fence: str, following: _Following) -> int:
    """Return the line that closes a fence: the first that fits, unless more of the diff follows."""
    fits = re.compile(re.escape(indent) + re.escape(fence[0]) + f"{{{len(fence)},}}[ \t]*$")
    last = len(lines)
    for k in range(i, len(lines)):
        if fits.match(lines[k]):
            last = k
            # A diff of a Markdown file has fences of its own.
            if not following.has_hunk(k + 1, indent):
                return k
    return last


def _begins(lines: Sequence[str], i: int) -> bool:
    """Return whether a diff starts at this line."""
    line = lines[i].lstrip(" \t")
    following = lines[i + 1].lstrip(" \t") if i + 1 < len(lines) else ""
    return (
        line.startswith(("diff --git ", "*** Begin Patch", "*** Update File:", "@@ -"))
        or (line.startswith("--- ") and following.startswith(("+++ ", "@@")))
        or (line.startswith("+++ ") and following.startswith("@@"))
    )


def dedent(lines: list[str]) -> list[str]:
    """Remove the indentation of a diff that is indented as a whole."""
    for i, line in enumerate(lines):
        if _begins(lines, i):
            indent = line[: len(line) - len(line.lstrip(" \t"))]
            header = next((other for other in lines[i:] if other.lstrip(" \t").startswith("@@")), line)
            if not header.startswith(indent):  # the names are indented, but the hunks are not
                return [other.lstrip(" \t") if _begins([other], 0) else other for other in lines]
            return [other.removeprefix(indent) for other in lines] if indent else lines
    return lines
