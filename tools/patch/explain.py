"""Explanations of a refused hunk, in words that a model can act on."""

from collections import Counter
from collections.abc import Sequence

from tools.patch.parse import Line
from tools.patch.source import Source, dice, plain, words

_WIDTH = 160
_SHOWN = 3
_SEARCHED, _COMPARED = 20_000, 1_000  # lines of a file and of a hunk, so that an explanation takes no second


def no_place(source: Source, lines: Sequence[Line]) -> str:
    """Name the first line that differs, and show the nearest lines of the file."""
    old = [(line.kind, line.text) for line in lines if line.kind != "+"]
    if not old:
        return "it adds lines but shows none of the file's around them: add context lines"
    start = _nearest(source, [text for _, text in old])
    if start is None:
        return f"none of its lines are in the file{_alike(source, old)}"
    form = source.form(-1)
    for k, (kind, text) in enumerate(old):
        at = start + k
        if text.strip() and not (0 <= at < len(form) and form[at] == plain(text)):
            what = "removed line" if kind == "-" else "context line"
            return f"the {what} `{text.strip()[:_WIDTH]}` is not there; the file has\n{shown(source, at)}"
    return f"its lines do not tell its place clearly; the nearest is\n{shown(source, start)}"


def many_places(starts: Sequence[int]) -> str:
    """List the places where a hunk would fit."""
    listed = ", ".join(str(start + 1) for start in starts[:8]) + (" ..." if len(starts) > 8 else "")
    return f"its lines stand in the file {len(starts)} times (lines {listed}): add context to tell them apart"


def shown(source: Source, at: int) -> str:
    """Show some lines of the file around a place, numbered from 1."""
    first = max(0, min(at, len(source.lines)) - _SHOWN + 1)
    return "\n".join(
        f"{number:6d} {text.rstrip()[:_WIDTH]}"
        for number, text in enumerate(source.lines[first : first + 2 * _SHOWN - 1], first + 1)
    )


def _nearest(source: Source, old: Sequence[str]) -> int | None:
    """Return the start at which most of the old lines agree with the file."""
    index = source.index()
    votes: Counter[int] = Counter()
    for k, text in enumerate(map(plain, old[:_COMPARED])):
        places = index.get(text, []) if text else []
        for place in places[:50]:
            # Brackets and the like are everywhere, so they count less.
            votes[max(0, place - k)] += 1 if len(text) < 4 else 4
    return max(votes, key=lambda start: (votes[start], -start)) if votes else None


def _alike(source: Source, old: Sequence[tuple[str, str]]) -> str:
    """Show the line of the file that is most like the hunk's first distinctive line."""
    text = next((text for kind, text in old if kind == "-" and text.strip()), old[0][1])
    wanted = words(text)
    best, at = 0.0, -1
    for line in range(min(len(source.lines), _SEARCHED)) if wanted else ():
        likeness = dice(wanted, source.words(line))
        if likeness > best:
            best, at = likeness, line
    return f"; nearest to `{text.strip()[:_WIDTH]}` is\n{shown(source, at)}" if best > 0.4 else ""
