"""Which of several equal places a hunk means."""

from collections.abc import Sequence

from tools.patch.parse import Hunk
from tools.patch.source import Source, plain


def choose(source: Source, hunks: Sequence[Hunk], places: Sequence[Sequence[int]]) -> list[int | None]:
    """One place for each hunk, None where nothing tells its places apart."""
    chosen: list[int | None] = [found[0] if len(found) == 1 else None for found in places]
    offsets = {
        place - (hunk.start - 1)
        for hunk, place in zip(hunks, chosen, strict=True)
        if place is not None and hunk.start is not None
    }
    for k, (hunk, found) in enumerate(zip(hunks, places, strict=True)):
        if chosen[k] is None and found:
            chosen[k] = _by_line(hunk, found, offsets) if hunk.start else None
            if chosen[k] is None and hunk.section:
                chosen[k] = _by_section(source, hunk.section, found)
    return chosen


def _by_line(hunk: Hunk, found: Sequence[int], offsets: set[int]) -> int | None:
    hint = (hunk.start or 1) - 1
    if len(offsets) == 1:
        shifted = hint + next(iter(offsets))
        if shifted in found:
            return shifted
    if hint in found:
        return hint
    near, second, *_ = sorted(found, key=lambda place: abs(place - hint))
    return near if 3 * abs(near - hint) < abs(second - hint) else None


def _by_section(source: Source, section: str, found: Sequence[int]) -> int | None:
    """The first place after the section's heading, when the file has that heading once."""
    wanted = plain(section)
    heads = [i for i, line in enumerate(source.form(4)) if line.startswith(wanted)]
    after = [place for place in found if heads and place >= heads[0]]
    return after[0] if len(heads) == 1 and after else None
