"""Where in a file each hunk belongs: strict comparison first, and no place at all rather than a guess."""

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

_READINGS = 4


@dataclass(frozen=True, slots=True)
class Spot:
    """One hunk in its place: for each of its lines the file's line, None where it has none.

    An added line's place is the line before which it goes; None means after the hunk's line above it.
    """

    hunk: Hunk
    lines: tuple[Line, ...]
    where: tuple[int | None, ...]
    note: str = ""
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The equal places of a hunk in the strictest reading and tier that has any."""

    lines: tuple[Line, ...]
    tier: int
    starts: list[int]


def place(source: Source, hunks: Sequence[Hunk]) -> list[Spot]:
    """Find every hunk's place against the original file, or raise PatchError."""
    spots: list[Spot | None] = []
    seen = {(hunk.lines, hunk.counts): hunk for hunk in hunks}
    fits = {key: _contiguous(source, hunk, "+") for key, hunk in seen.items()}
    found = [fits[hunk.lines, hunk.counts] for hunk in hunks]
    places = [match.starts for match in found]
    starts, expected = choose(source, hunks, places), expect(hunks, places)
    for k, (hunk, match, start) in enumerate(zip(hunks, found, starts, strict=True)):
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
        raise _refusal(source, hunks, found, spots)
    return result


def _contiguous(source: Source, hunk: Hunk, without: str) -> Found:
    """The places where a hunk's lines of all other kinds stand one after another."""
    for ways in (readings(hunk), without_prose(hunk)):
        texts = [(lines, [line.text for line in lines if line.kind != without]) for lines in ways]
        for tier, (_, form) in enumerate(TIERS):
            for lines, wanted in texts:
                starts = source.find([form(text) for text in wanted], tier)
                if starts:
                    return Found(lines, tier, starts)
    return Found(hunk.lines, 0, [])


def _spot(hunk: Hunk, match: Found, start: int) -> Spot:
    where: list[int | None] = []
    at = start
    for line in match.lines:
        where.append(None if line.kind == "+" else at)
        at += line.kind != "+"
    offset = start + 1 - hunk.start if hunk.start else 0
    notes = [f"offset {offset:+d}"] * bool(offset) + [f"fuzzy: {TIERS[match.tier][0]}"] * bool(match.tier)
    return Spot(hunk, match.lines, tuple(where), ", ".join(notes), exact=match.tier == 0)


def _applied(source: Source, hunk: Hunk) -> Spot | None:
    """A hunk whose outcome the file already shows, with nothing left to do."""
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
    """A hunk whose context is not quite the file's; where it is in doubt, the order of the hunks decides."""
    for lines in islice(chain(readings(hunk), without_prose(hunk)), _READINGS):
        found = align(source, lines, expected, within)
        if found:
            kept = [k for k in range(len(lines)) if k not in found.done]
            doubtful = [lines[k].bare and not lines[k].text.strip() and found.where[k] is None for k in kept]
            note = "fuzzy: context" + (", partly applied" if found.done else "")
            return Spot(
                hunk, fill([lines[k] for k in kept], doubtful), tuple(found.where[k] for k in kept), note
            )
    return None


def _refusal(
    source: Source, hunks: Sequence[Hunk], found: Sequence[Found], spots: Sequence[Spot | None]
) -> PatchError:
    """The error for the first hunk without a place; it also tells how the others fared."""
    failed = next(k for k, spot in enumerate(spots) if spot is None)
    others = tuple(
        f"hunk {hunk.number}: {(spot.note or 'exact') if spot else 'no place'}"
        for k, (hunk, spot) in enumerate(zip(hunks, spots, strict=True))
        if k != failed
    )
    starts = found[failed].starts
    reason = many_places(starts) if starts else no_place(source, hunks[failed].lines)
    return PatchError(reason, hunk=hunks[failed].number, placed=others)
