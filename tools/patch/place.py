"""Where in a file each hunk belongs: strict comparison first, and no place at all rather than a guess."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.patch.choose import choose
from tools.patch.errors import PatchError
from tools.patch.parse import Hunk, Line
from tools.patch.source import TIERS, Source


@dataclass(frozen=True, slots=True)
class Spot:
    """One hunk in its place: for each of its lines the file's line, None for added or missing ones."""

    hunk: Hunk
    lines: tuple[Line, ...]
    where: tuple[int | None, ...]
    note: str = ""
    exact: bool = False
    applied: bool = False


def place(source: Source, hunks: Sequence[Hunk]) -> list[Spot]:
    """Find every hunk's place against the original file, or raise PatchError."""
    found = [_contiguous(source, hunk.lines) for hunk in hunks]
    spots = []
    for hunk, (_, starts) in zip(hunks, found, strict=True):
        if not starts:
            raise PatchError("its lines are not in the file", hunk=hunk.number)
    starts_of = choose(source, hunks, [starts for _, starts in found])
    for hunk, start, (tier, _) in zip(hunks, starts_of, found, strict=True):
        if start is None:
            raise PatchError("its lines are in the file several times; add context", hunk=hunk.number)
        spots.append(_spot(hunk, start, tier))
    return spots


def _contiguous(source: Source, lines: Sequence[Line]) -> tuple[int, list[int]]:
    old = [line.text for line in lines if line.kind != "+"]
    if not old:
        return 0, [0] if not source.lines else []
    for tier, (_, form) in enumerate(TIERS):
        starts = source.find([form(text) for text in old], tier)
        if starts:
            return tier, starts
    return 0, []


def _spot(hunk: Hunk, start: int, tier: int) -> Spot:
    where: list[int | None] = []
    at = start
    for line in hunk.lines:
        where.append(None if line.kind == "+" else at)
        at += line.kind != "+"
    offset = start + 1 - hunk.start if hunk.start else 0
    notes = [f"offset {offset:+d}"] * bool(offset) + [f"fuzzy: {TIERS[tier][0]}"] * bool(tier)
    return Spot(hunk, hunk.lines, tuple(where), ", ".join(notes), exact=tier == 0)
