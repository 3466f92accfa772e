"""A choice between equal places of a hunk, by other hunks, line numbers and section headings."""

from collections import Counter
from collections.abc import Sequence

from tools.patch.parse import Hunk
from tools.patch.source import Source, plain

_CLEARLY = 3  # the second place must be so many times as far away
_NEAR = 40


def choose(source: Source, hunks: Sequence[Hunk], places: Sequence[Sequence[int]]) -> list[int | None]:
    """Choose a place for each hunk. None if it has none, or if nothing tells its places apart."""
    chosen: list[int | None] = [options[0] if len(options) == 1 else None for options in places]
    expected = expect(hunks, places)
    for k, options in enumerate(places):
        if len(options) > 1:
            chosen[k] = _by_line(expected[k], options)
    for k, options in enumerate(places):
        if chosen[k] is None and len(options) > 1:
            within = between(source, chosen, k) or range(0)
            inside = [place for place in options if place in within]
            chosen[k] = inside[0] if len(inside) == 1 else _by_section(source, hunks[k].section, options)
    _pair_off(hunks, places, chosen)
    return chosen


def expect(hunks: Sequence[Hunk], places: Sequence[Sequence[int]]) -> list[int | None]:
    """Return the line at which each hunk should begin, from 0, as headers and other hunks suggest."""
    hints = _hints(hunks, places)
    offset = _shared_offset(hints, [options[0] if len(options) == 1 else None for options in places])
    return [None if hint is None or offset is None else hint + offset for hint in hints]


def _hints(hunks: Sequence[Hunk], places: Sequence[Sequence[int]]) -> list[int | None]:
    """Return the lines that headers name, from 0, without headers that are placeholders."""
    starts = [hunk.start for hunk in hunks]
    # Models that do not know the lines repeat a number, or write 1.
    same = len(hunks) > 1 and len(set(starts)) == 1 and len({hunk.lines for hunk in hunks}) > 1
    hints: list[int | None] = []
    for start, options in zip(starts, places, strict=True):
        idle = not start or same or (start == 1 and 0 not in options)
        hints.append(None if idle or start is None else start - 1)
    return hints


def _shared_offset(hints: Sequence[int | None], chosen: Sequence[int | None]) -> int | None:
    """Return the offset of hunks with only one place from their line numbers, if most agree."""
    offsets = Counter(
        place - hint
        for hint, place in zip(hints, chosen, strict=True)
        if hint is not None and place is not None
    )
    if not offsets:
        return 0
    offset, times = offsets.most_common(1)[0]
    return offset if 2 * times > sum(offsets.values()) else None


def _by_line(expected: int | None, options: Sequence[int]) -> int | None:
    """Return the place at the expected line, or the place clearly nearest to it."""
    if expected is None or expected in options:
        return expected
    near, second, *_ = sorted(options, key=lambda place: abs(place - expected))
    distance = abs(near - expected)
    return near if distance <= _NEAR and _CLEARLY * distance < abs(second - expected) else None


def between(source: Source, chosen: Sequence[int | None], k: int) -> range | None:
    """Return the lines where hunk k would be in order, if the hunks with a place are in order."""
    fixed = [place for place in chosen if place is not None]
    if not fixed or fixed != sorted(fixed):
        return None
    before = max((place for place in chosen[:k] if place is not None), default=-1)
    after = min((place for place in chosen[k + 1 :] if place is not None), default=len(source.lines))
    return range(before + 1, after)


def _by_section(source: Source, section: str, options: Sequence[int]) -> int | None:
    """Return the first place after the section's heading, if the file has that heading once."""
    wanted = plain(section)
    heads = [i for i, line in enumerate(source.form(-1)) if wanted and line.startswith(wanted)]
    after = [place for place in options if heads and place >= heads[0]]
    return after[0] if len(heads) == 1 and after else None


def _pair_off(hunks: Sequence[Hunk], places: Sequence[Sequence[int]], chosen: list[int | None]) -> None:
    """Give equal hunks one place each, in order, if there are as many places."""
    for k, hunk in enumerate(hunks):
        alike = [i for i, other in enumerate(hunks) if other.lines == hunk.lines]
        if len(alike) > 1 and len(alike) == len(places[k]) and all(chosen[i] is None for i in alike):
            for i, place in zip(alike, places[k], strict=True):
                chosen[i] = place
