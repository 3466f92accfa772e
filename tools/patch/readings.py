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


def readings(hunk: Hunk) -> Iterator[tuple[Line, ...]]:
    """The hunk's lines in every plausible reading, the likeliest first."""
    for lines in _endings(hunk):
        yield lines
        if any(line.bare and not line.text.strip() for line in lines):
            filled = fill(lines, [line.bare and not line.text.strip() for line in lines])
            if filled != lines:
                yield filled
    shifted = tuple(
        line._replace(text=" " + line.text) if line.kind == " " and not line.bare else line
        for line in hunk.lines
    )
    if shifted != hunk.lines:
        yield shifted


def fill(lines: Sequence[Line], doubtful: Sequence[bool]) -> tuple[Line, ...]:
    """Turn doubtful empty lines between added ones into added lines that lost their prefix."""
    result = list(lines)
    for i, doubt in enumerate(doubtful):
        if doubt and i and result[i - 1].kind == "+" and _next_kind(lines, i, doubtful) == "+":
            result[i] = Line("+", "")
    return tuple(result)


def _next_kind(lines: Sequence[Line], i: int, doubtful: Sequence[bool]) -> str:
    return next((line.kind for k, line in enumerate(lines) if k > i and not doubtful[k]), "")


def _endings(hunk: Hunk) -> list[tuple[Line, ...]]:
    """The hunk whole, and without what may be prose after it."""
    lines = hunk.lines
    first = next((i for i, line in enumerate(lines) if line.kind != " "), 0)
    cuts = [
        i
        for i, line in enumerate(lines)
        if i > first and line.bare and any(later.bare and later.text.strip() for later in lines[i:])
    ]
    met = [i for i in cuts if hunk.counts == counted(lines[:i])]
    cuts = met + [i for i in cuts if i not in met][:_MOST_CUTS]
    rest = [lines[:i] for i in cuts]
    if met and not any(line.kind != "+" and not line.bare for line in lines[met[0] :] if line.text.strip()):
        return [rest[0], lines, *rest[1:]]
    return [lines, *rest]


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
