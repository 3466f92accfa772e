"""Readings of a hunk whose prefixes or end are in doubt."""

import re
from collections.abc import Iterator, Sequence

from tools.patch.errors import PatchError
from tools.patch.parse import Hunk, Line, counted

ELLIPSIS = re.compile(
    r"^\s*+(?:(?://|#|--|;|%|/\*|<!--|\{/\*|\*)\s*+)?"
    r"(?:[.\u2026]++\s*+(?:\(?[\w']++(?:[ ,]++[\w']++){0,7}[ ,]*+\)?\s*+[.\u2026]*+)?"
    r"|[(\[]\s*+[.\u2026]++\s*+[)\]]|(?:[\w']++ ){1,6}[.\u2026]++)"
    r"\s*+(?:\*/\}?|-->)?\s*+"
)
_MOST_CUTS = 4  # each cut is compared with the whole file


def elided(line: Line) -> bool:
    """Return whether a context line stands for omitted lines, like `// ... rest of the code ...`."""
    text = line.text
    return (
        line.kind == " "
        and ("..." in text or "\u2026" in text)
        and len(text) < 100
        and ELLIPSIS.fullmatch(text) is not None
    )


def readings(hunk: Hunk) -> list[tuple[Line, ...]]:
    """Return the hunk's lines in every plausible reading, the likeliest first."""
    lines = hunk.lines
    met = _met(hunk)
    if met is not None and not any(
        line.kind != "+" and line.text.strip() and not line.bare for line in lines[met:]
    ):
        lines = lines[:met]
    ways = [lines]
    blank = [line.bare and not line.text.strip() for line in lines]
    if any(blank) and (filled := fill(lines, blank)) != lines:
        # The header's counts tell which of the two readings is likelier.
        ways.insert(counted(filled) != hunk.counts, filled)
    if any(line.bare and line.text.strip() for line in lines):
        ways.append(tuple(_unshifted(line) for line in lines))
    return ways


def _met(hunk: Hunk) -> int | None:
    """Return the first line where prose may begin and the header's counts are met."""
    ends = set(_ends(hunk.lines))
    old = new = 0
    for i, line in enumerate(hunk.lines):
        if i in ends and (old, new) == hunk.counts:
            return i
        old, new = old + (line.kind != "+"), new + (line.kind != "-")
    return None


def without_prose(hunk: Hunk) -> Iterator[tuple[Line, ...]]:
    """Yield the hunk without its last lines, if those may be prose that follows the diff."""
    for end in _ends(hunk.lines)[:_MOST_CUTS]:
        if hunk.counts == counted(hunk.lines[:end]) or all(map(_prose, hunk.lines[end:])):
            yield hunk.lines[:end]


def _ends(lines: Sequence[Line]) -> list[int]:
    """Return the lines where prose may begin: without a prefix, after the first change."""
    first = next((i for i, line in enumerate(lines) if line.kind != " "), 0)
    last = max((i for i, line in enumerate(lines) if line.bare and line.text.strip()), default=-1)
    return [i for i, line in enumerate(lines) if first < i <= last and line.bare]


def _prose(line: Line) -> bool:
    """Return whether a line could be prose: a line without a prefix, or a list item."""
    return (
        line.bare or not line.text.strip() or (line.kind != " " and re.match(r" \S", line.text) is not None)
    )


def _unshifted(line: Line) -> Line:
    """Give back the blank of a context line that was wrongly taken for its prefix."""
    return line._replace(text=" " + line.text) if line.kind == " " and not line.bare else line


def fill(lines: Sequence[Line], doubtful: Sequence[bool]) -> tuple[Line, ...]:
    """Turn doubtful empty lines between added lines into added lines."""
    result = list(lines)
    following = [""] * len(lines)
    for i in range(len(lines) - 2, -1, -1):
        following[i] = following[i + 1] if doubtful[i + 1] else lines[i + 1].kind
    for i, doubt in enumerate(doubtful):
        if doubt and i and result[i - 1].kind == "+" and following[i] == "+":
            result[i] = Line("+", "")
    return tuple(result)


def created(hunk: Hunk) -> tuple[Line, ...]:
    """Return the lines of a new file: added lines, and empty lines without a prefix. Prose is dropped."""
    lines = hunk.lines
    end = next((i for i, line in enumerate(lines) if line.bare and line.text.strip()), len(lines))
    if any(line.kind == "+" for line in lines[end:]) and counted(_filled(lines[:end])) != hunk.counts:
        raise PatchError("a line of this new file has no '+' before it", hunk=hunk.number)
    return _filled(lines[:end])


def _filled(lines: Sequence[Line]) -> tuple[Line, ...]:
    last = max((i for i, line in enumerate(lines) if line.kind == "+"), default=-1)
    return tuple(
        Line("+", line.text, end=line.end) for i, line in enumerate(lines) if line.kind != "-" and i <= last
    )
