"""The ways in which one hunk can be read when its prefixes or its end are in doubt."""

import re
from collections.abc import Iterator, Sequence

from tools.patch.errors import PatchError
from tools.patch.parse import Hunk, Line, counted

ELLIPSIS = re.compile(
    r"\s*(?:(?://|#|--|;|%|/\*|<!--|\{/\*|\*)\s*)?"
    r"(?:[.\u2026]+\s*(?:\(?(?:[\w']+[ ,]*){1,8}\)?\s*[.\u2026]*)?"
    r"|[(\[]\s*[.\u2026]+\s*[)\]]|(?:[\w']+ ){1,6}[.\u2026]+)"
    r"\s*(?:\*/\}?|-->)?\s*"
)
_MOST_CUTS = 4


def elided(line: Line) -> bool:
    """Whether a context line stands for lines that were left out, like `// ... rest of the code ...`."""
    text = line.text
    return (
        line.kind == " "
        and ("..." in text or "\u2026" in text)
        and len(text) < 100
        and ELLIPSIS.fullmatch(text) is not None
    )


def readings(hunk: Hunk) -> list[tuple[Line, ...]]:
    """The hunk's lines in every plausible reading, the likeliest first."""
    lines = hunk.lines
    met = next((i for i in _ends(lines) if hunk.counts == counted(lines[:i])), None)
    if met is not None and not any(
        line.kind != "+" and line.text.strip() and not line.bare for line in lines[met:]
    ):
        lines = lines[:met]
    found = [lines]
    blank = [line.bare and not line.text.strip() for line in lines]
    if any(blank) and (filled := fill(lines, blank)) != lines:
        found.insert(counted(filled) != hunk.counts, filled)
    if any(line.bare and line.text.strip() for line in lines):
        found.append(tuple(_unshifted(line) for line in lines))
    return found


def without_prose(hunk: Hunk) -> Iterator[tuple[Line, ...]]:
    """The hunk without the last of its lines, where those may be prose that follows the diff."""
    for end in _ends(hunk.lines)[:_MOST_CUTS]:
        if hunk.counts == counted(hunk.lines[:end]) or all(map(_prose, hunk.lines[end:])):
            yield hunk.lines[:end]


def _ends(lines: Sequence[Line]) -> list[int]:
    """Where prose may begin: at lines without a prefix, after the first change."""
    first = next((i for i, line in enumerate(lines) if line.kind != " "), 0)
    last = max((i for i, line in enumerate(lines) if line.bare and line.text.strip()), default=-1)
    return [i for i, line in enumerate(lines) if first < i <= last and line.bare]


def _prose(line: Line) -> bool:
    """Whether a line could stand in prose: a line without a prefix, or an item of a list."""
    return (
        line.bare or not line.text.strip() or (line.kind != " " and re.match(r" \S", line.text) is not None)
    )


def _unshifted(line: Line) -> Line:
    """A context line that lost its prefix, with the blank that was taken for one."""
    return line._replace(text=" " + line.text) if line.kind == " " and not line.bare else line


def fill(lines: Sequence[Line], doubtful: Sequence[bool]) -> tuple[Line, ...]:
    """Turn doubtful empty lines between added ones into added lines that lost their prefix."""
    result = list(lines)
    following = [""] * len(lines)
    for i in range(len(lines) - 2, -1, -1):
        following[i] = following[i + 1] if doubtful[i + 1] else lines[i + 1].kind
    for i, doubt in enumerate(doubtful):
        if doubt and i and result[i - 1].kind == "+" and following[i] == "+":
            result[i] = Line("+", "")
    return tuple(result)


def created(hunk: Hunk) -> tuple[Line, ...]:
    """The lines of a new file: those added, and empty ones that lost their prefix; no prose after them."""
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
