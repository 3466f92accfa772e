"""Places of hunks in a file. The strictest comparison comes first, and a doubtful place is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

from tools.patch.align import align, weight
from tools.patch.choose import between, choose, expect
from tools.patch.errors import PatchError
from tools.patch.explain import many_places, no_place
from tools.patch.parse import Hunk, Line
from tools.patch.readings import fill, readings, without_prose
from tools.patch.source import TIERS, Source

_READINGS = 4  # alignment is slow, and further readings are unlikely


@dataclass(frozen=True, slots=True)
class Spot:
    """A hunk in its place: the file's line for each of its lines, or None.

    The place of an added line is the line before which it goes. None means after the hunk's line above it.
    """

    hunk: Hunk
    lines: tuple[Line, ...]
    where: tuple[int | None, ...]
    note: str = ""
    exact: bool = False


@dataclass(frozen=True, slots=True)
class HunkMatch:
    """The equally good places of a hunk, in the strictest reading and tier that has any."""

    lines: tuple[Line, ...]
    tier: int
    starts: list[int]


def place(source: Source, hunks: Sequence[Hunk]) -> list[Spot]:
    """Find the place of every hunk in the original file. Raises PatchError."""
    spots: list[Spot | None] = []
    seen = {(hunk.lines, hunk.counts): hunk for hunk in hunks}
    fits = {key: _contiguous(source, hunk, "+") for key, hunk in seen.items()}
    matches = [fits[hunk.lines, hunk.counts] for hunk in hunks]
    places = [match.starts for match in matches]
    starts, expected = choose(source, hunks, places), expect(hunks, places)
    for k, (hunk, match, start) in enumerate(zip(hunks, matches, starts, strict=True)):
        if start is not None:
            spots.append(_spot(hunk, match, start))
        elif match.starts:
            spots.append(None)
        else:
            spots.append(
                _applied(source, hunk) or _aligned(source, hunk, expected[k], between(source, starts, k))
            )
    result = [spot for spot in spots if spot]
    if len(result) < len(hunks):
        raise _refusal(source, hunks, matches, spots)
    return result


def _contiguous(source: Source, hunk: Hunk, without: str) -> HunkMatch:
    """Find the places where a hunk's lines, without those of one kind, stand one after another."""
    for ways in (readings(hunk), without_prose(hunk)):
        texts = [(lines, [line.text for line in lines if line.kind != without]) for lines in ways]
        for tier, (_, form) in enumerate(TIERS):
            for lines, wanted in texts:
                starts = source.find([form(text) for text in wanted], tier)
                if starts:
                    return HunkMatch(lines, tier, starts)
    return HunkMatch(hunk.lines, 0, [])


def _spot(hunk: Hunk, match: HunkMatch, start: int) -> Spot:
    where: list[int | None] = []
    at = start
    for line in match.lines:
        where.append(None if line.kind == "+" else at)
        at += line.kind != "+"
    offset = start + 1 - hunk.start if hunk.start else 0
    notes = [f"offset {offset:+d}"] * bool(offset) + [f"fuzzy: {TIERS[match.tier][0]}"] * bool(match.tier)
    return Spot(hunk, match.lines, tuple(where), ", ".join(notes), exact=match.tier == 0)


def _applied(source: Source, hunk: Hunk) -> Spot | None:
    """Return the empty Spot of a hunk that the file already contains, or None."""
    # Without enough context, the new lines could be in the file for another reason.
    kept = sum(weight(line.text) for line in hunk.lines if line.kind == " ")
    added = sum(weight(line.text) for line in hunk.lines if line.kind == "+")
    between = hunk.lines[0].kind == " " and hunk.lines[-1].kind == " "
    if kept < 1 or (not added and (kept < 2 or not between)):
        return None
    match = _contiguous(source, hunk, "-")
    new = [line for line in match.lines if line.kind != "-"]
    for start in match.starts:
        there = zip(new, source.lines[start:], strict=False)
        if all(line.text.rstrip() == text.rstrip() for line, text in there if line.kind == "+"):
            return Spot(hunk, (), (), "already applied")
    return None


def _aligned(source: Source, hunk: Hunk, expected: int | None, within: range | None) -> Spot | None:
    """Align a hunk whose context differs from the file. The order of the hunks decides in doubt."""
    for lines in islice(chain(readings(hunk), without_prose(hunk)), _READINGS):
        match = align(source, lines, expected, within)
        if match:
            kept = [k for k in range(len(lines)) if k not in match.done]
            doubtful = [lines[k].bare and not lines[k].text.strip() and match.where[k] is None for k in kept]
            note = "fuzzy: context" + (", partly applied" if match.done else "")
            return Spot(
                hunk, fill([lines[k] for k in kept], doubtful), tuple(match.where[k] for k in kept), note
            )
    return None


def _refusal(
    source: Source, hunks: Sequence[Hunk], matches: Sequence[HunkMatch], spots: Sequence[Spot | None]
) -> PatchError:
    """Return the error for the first hunk without a place, with the state of the others."""
    failed = next(k for k, spot in enumerate(spots) if spot is None)
    others = tuple(
        f"hunk {hunk.number}: {(spot.note or 'exact') if spot else 'no place'}"
        for k, (hunk, spot) in enumerate(zip(hunks, spots, strict=True))
        if k != failed
    )
    starts = matches[failed].starts
    reason = many_places(starts) if starts else no_place(source, hunks[failed].lines)
    return PatchError(reason, hunk=hunks[failed].number, placed=others)
