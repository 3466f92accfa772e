"""Alignment of a hunk whose context differs from the file, by dynamic programming.

Removed lines must match token for token. A context line must match or resemble a line of the file. The hunk
may leave out lines of the file, and at a price it may continue elsewhere. A change that the file already has
may align with itself. The result counts only when no other place scores nearly as well. A forward and a
backward sweep give the best score through each alternative.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.patch.parse import Line
from tools.patch.readings import elided
from tools.patch.source import Source, bigrams, dice, likeness, plain, words
from tools.patch.sweep import NEVER, AlignmentProblem, AlignmentStep, Item, Scores, changes, through, trace

_CELLS, _SMALL = 60_000, 20_000  # sizes of a table: the largest, and one that needs no smaller region
# Prices of leaving out a line, an empty line, and an empty line of the context beside a change.
_SKIP, _BLANK, _BLANK_BESIDE = 0.7, 0.05, 0.6
_DRIFT = 0.3  # the price of different white space
_MARGIN = 0.65  # a rival must score this much less, or the place is in doubt
_ALIKE, _SPELT_ALIKE = 0.6, 0.75  # the least similarity of words, and of letters
_HINT, _REACH = 0.7, 3  # a bonus for places within so many lines of the expected line
_WORD = re.compile(r"\w")


def weight(text: str) -> float:
    """Return how much a matching line counts: one with words, one with brackets only, or an empty one."""
    return 1.0 if _WORD.search(text) else 0.4 if text else 0.15


@dataclass(frozen=True, slots=True)
class Aligned:
    """The places of a hunk's lines. `done` marks the lines of changes that the file already has."""

    where: tuple[int | None, ...]
    done: frozenset[int]


def align(
    source: Source, lines: Sequence[Line], expected: int | None = None, within: range | None = None
) -> Aligned | None:
    """Return the only convincing alignment of a hunk's lines with the file's lines, or None.

    `expected` is the line, from 0, where the hunk should begin. It decides between equal copies. Otherwise
    only the lines in `within` count.
    """
    items = _items(lines)
    region = _region(source, items, expected)
    path, rivalled = _path(source, items, region, expected)
    if rivalled and within is not None:
        region = [line for line in region if line in within]
        path, _ = _path(source, items, region, expected)
    return _aligned(lines, items, path, region) if path else None


def _path(
    source: Source, items: list[Item], region: Sequence[int], expected: int | None
) -> tuple[list[AlignmentStep] | None, bool]:
    """Return the best path if it convinces, and whether a rival is the reason if it does not."""
    problem = _problem(source, items, region) if region else None
    if problem is None:
        return None, False
    if expected is not None:
        problem.starts = [_HINT * (abs(line - expected) <= _REACH) for line in (*region, region[-1] + 1)]
    forward = problem.sweep()
    path = trace(problem, forward)
    if path is None or not _supported(problem, path):
        return None, False
    backward = problem.reversed().sweep()
    if not _unrivalled(problem, path, forward, backward):
        return None, True
    return _settled(problem, path, forward, backward), False


def _aligned(
    lines: Sequence[Line], items: Sequence[Item], path: Sequence[AlignmentStep], region: Sequence[int]
) -> Aligned:
    """Turn a path into places of the hunk's lines in the file."""
    where: list[int | None] = [None] * len(lines)
    done: set[int] = set()
    for i, (item, step) in enumerate(zip(items, path, strict=True)):
        if step.kind == "done":
            done.update(range(item.at, item.at + max(1, len(item.added))))
        elif step.kind == "match":
            where[item.at] = region[step.column]
        elif item.kind == "+":
            follows = i and path[i - 1] == AlignmentStep("match", step.column - 1)
            inside = step.column < len(region) and not follows
            where[item.at] = region[step.column] if inside else region[step.column - 1] + 1
    return Aligned(tuple(where), frozenset(done))


def _items(lines: Sequence[Line]) -> list[Item]:
    items: list[Item] = []
    for at, line in enumerate(lines):
        text = plain(line.text)
        if line.kind == "+":
            if not items or items[-1].kind != "+" or lines[at - 1].kind != "+":
                items.append(Item("+", at, drop=0.0))
            items[-1].added.append(line.text.rstrip())
        elif line.kind == "-":
            items.append(Item("-", at, text, line.text, weight(text)))
        else:
            beside = any(lines[k].kind != " " for k in (at - 1, at + 1) if 0 <= k < len(lines))
            gap = elided(line)
            blank = _BLANK_BESIDE if beside and not line.bare else _BLANK
            drop = 0.0 if gap else None if text else blank
            items.append(Item(" ", at, text, line.text, weight(text), drop, gap))
    return items


def _region(source: Source, items: Sequence[Item], expected: int | None) -> list[int]:
    """Return the file's lines to search: all of a short file, else those around distinctive lines."""
    size, reach = len(source.lines), len(items) + 12
    if size * len(items) <= _SMALL:
        return list(range(size))
    index = source.index()
    # Frequent lines say little about the place. Leave them out until the table is small enough.
    for most in (8, 2, 1):
        near = range(expected - reach, expected + reach) if expected is not None else ()
        chosen = {line for line in near if 0 <= line < size}
        for item in items:
            places = index.get(item.text, []) if item.weight == 1.0 else []
            for place in places if len(places) <= most else []:
                chosen.update(range(max(0, place - reach), min(size, place + reach)))
        if len(chosen) * len(items) <= _CELLS:
            return sorted(chosen)
    return []


def _problem(source: Source, items: list[Item], region: Sequence[int]) -> AlignmentProblem | None:
    """Build the problem of aligning items with a region. None when a line that must be there is not."""
    form = source.form(-1)
    texts = [form[line] for line in region]
    columns: dict[str, list[int]] = {}
    for j, text in enumerate(texts):
        columns.setdefault(text, []).append(j)
    stripped = [source.lines[line].rstrip() for line in region]
    spans = list(_spans(items, stripped))
    spare = {k for start, end, _, _ in spans for k in range(start, end)}
    gains: list[dict[int, float]] = [{} for _ in items]
    # Removed lines come first: they reject a hunk quickly, while the search for similar lines is slow.
    for k, item in sorted(enumerate(items), key=lambda numbered: numbered[1].kind == " "):
        places = columns.get(item.text, []) if item.kind != "+" else []
        gains[k] = {j: item.weight - _drift(item, stripped[j]) for j in places}
        if not places and item.kind == " " and item.drop is None:
            gains[k] = dict(_similar(source, item.raw, region))
        if not gains[k] and item.drop is None and k not in spare:
            return None
    skips = [_SKIP if text else _BLANK for text in texts]
    for j in range(1, len(region)):
        if region[j] != region[j - 1] + 1:
            skips[j - 1] = -NEVER  # the region has a gap here, which only a jump may cross
    return AlignmentProblem(items, gains, skips, spans)


def _drift(item: Item, line: str) -> float:
    """Return the cost of different white space in a match."""
    return 0.0 if item.raw.rstrip() == line else min(_DRIFT, item.weight / 2)


def _similar(source: Source, text: str, region: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Yield lines that share most words or letters with a context line that the file lacks."""
    wanted, pairs = words(text), bigrams(text)
    for j, line in enumerate(region):
        alike = likeness(wanted, source.words(line))
        if alike < _ALIKE and dice(pairs, source.bigrams(line)) >= _SPELT_ALIKE:
            alike = _ALIKE
        if alike >= _ALIKE:
            yield j, alike / 2


def _spans(items: Sequence[Item], texts: Sequence[str]) -> Iterator[tuple[int, int, int, dict[int, float]]]:
    """Yield the changes whose added lines are already in the file, as (first item, end, lines, gains)."""
    for start, end in changes(items):
        added = [text for item in items[start:end] for text in item.added]
        if any(map(_WORD.search, added)):
            size, gain = len(added), min(3.0, sum(map(weight, added))) / 2
            places = [j for j, text in enumerate(texts) if text == added[0] and texts[j : j + size] == added]
            if places:
                yield start, end, size, dict.fromkeys(places, gain)


def _supported(problem: AlignmentProblem, path: Sequence[AlignmentStep]) -> bool:
    """Return whether enough of the context around every change was found."""
    for start, end in changes(problem.items):
        present = missing = 0.0
        beside = False
        for step_out in (range(start - 1, -1, -1), range(end, len(problem.items))):
            near = [k for k in step_out if not problem.items[k].elided and problem.items[k].kind != "+"][:3]
            for nth, k in enumerate(near):
                item, step = problem.items[k], path[k]
                if step.kind == "drop":
                    missing += item.weight
                else:
                    present += min(item.weight, problem.gains[k].get(step.column, item.weight))
                    beside = beside or not nth
        removed = sum(item.weight for item in problem.items[start:end])
        if present < missing or (not removed and (present < 0.9 or not beside)) or present + removed < 0.9:
            return False
    return True


def _unrivalled(
    problem: AlignmentProblem, path: Sequence[AlignmentStep], forward: Scores, backward: Scores
) -> bool:
    """Return whether every change would score clearly worse anywhere else."""
    best = max(forward.opened[-1])
    for start, _ in changes(problem.items):
        step = path[start]
        for rival, score in through(problem, start, forward, backward):
            if score > best - _MARGIN and rival != step and not _only_blanks(problem, step, rival):
                return False
    return True


def _only_blanks(problem: AlignmentProblem, step: AlignmentStep, rival: AlignmentStep) -> bool:
    """Return whether only empty lines lie between two places for added lines."""
    low, high = sorted((step.column, rival.column))
    return step.kind == rival.kind == "drop" and all(skip == _BLANK for skip in problem.skips[low:high])


def _settled(
    problem: AlignmentProblem, path: list[AlignmentStep], forward: Scores, backward: Scores
) -> list[AlignmentStep]:
    """Move added lines to the right side of empty lines that the diff left out."""
    best = max(forward.opened[-1])
    path = list(path)
    for start, end in changes(problem.items):
        added, step = problem.items[start].added, path[start]
        if end != start + 1 or not added or step.kind != "drop":
            continue
        columns = [
            rival.column
            for rival, score in through(problem, start, forward, backward)
            if score > best - 0.01 and _only_blanks(problem, step, rival)
        ]
        path[start] = AlignmentStep("drop", max(columns) if not added[-1] else min(columns))
    return path
