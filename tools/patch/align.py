"""Alignment of a hunk whose context is not quite the file's, by dynamic programming.

Removed lines must match token for token. Context must match or resemble a line of the file; lines of the file
may be missing from it, and at a price it may continue elsewhere. Changes that the file already has may stand
for themselves. The result counts only when no other place comes near: the best score through each alternative
is known from a forward and a backward sweep.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.patch.parse import Line
from tools.patch.readings import elided
from tools.patch.source import Source, bigrams, dice, likeness, plain, words
from tools.patch.sweep import NEVER, Item, Problem, Scores, Step, changes, through, trace

_CELLS, _SMALL = 60_000, 20_000
_SKIP, _BLANK, _BLANK_BESIDE = 0.7, 0.05, 0.6
_DRIFT = 0.3
_MARGIN = 0.65
_ALIKE, _SPELT_ALIKE = 0.6, 0.75
_HINT, _REACH = 0.7, 3
_WORD = re.compile(r"\w")


def weight(text: str) -> float:
    """How much one matching line tells: a line with words, one of brackets, an empty one."""
    return 1.0 if _WORD.search(text) else 0.4 if text else 0.15


@dataclass(frozen=True, slots=True)
class Aligned:
    """Where the lines of a reading went; `done` marks the lines of changes that the file already has."""

    where: tuple[int | None, ...]
    done: frozenset[int]


def align(
    source: Source, lines: Sequence[Line], expected: int | None = None, within: range | None = None
) -> Aligned | None:
    """The one convincing alignment of a hunk's lines with the file's, or None.

    The line where the hunk is expected to begin, counted from 0, tells copies apart; where that does not do,
    only the lines within a range count.
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
) -> tuple[list[Step] | None, bool]:
    """The best path through a region if it convinces, and whether it does not because another is as good."""
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
    lines: Sequence[Line], items: Sequence[Item], path: Sequence[Step], region: Sequence[int]
) -> Aligned:
    """A path as places of the hunk's lines in the file."""
    where: list[int | None] = [None] * len(lines)
    done: set[int] = set()
    for i, (item, step) in enumerate(zip(items, path, strict=True)):
        if step.kind == "done":
            done.update(range(item.at, item.at + max(1, len(item.added))))
        elif step.kind == "match":
            where[item.at] = region[step.column]
        elif item.kind == "+":
            follows = i and path[i - 1] == Step("match", step.column - 1)
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
    """The file's lines worth looking at: all of a short file, else those around telling lines."""
    size, reach = len(source.lines), len(items) + 12
    if size * len(items) <= _SMALL:
        return list(range(size))
    index = source.index()
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


def _problem(source: Source, items: list[Item], region: Sequence[int]) -> Problem | None:
    """The items against the region; None when a line that must be there is not."""
    form = source.form(-1)
    texts = [form[line] for line in region]
    columns: dict[str, list[int]] = {}
    for j, text in enumerate(texts):
        columns.setdefault(text, []).append(j)
    spans = list(_spans(items, [source.lines[line].rstrip() for line in region]))
    spare = {k for start, end, _, _ in spans for k in range(start, end)}
    gains: list[dict[int, float]] = [{} for _ in items]
    for k, item in sorted(enumerate(items), key=lambda numbered: numbered[1].kind == " "):
        places = columns.get(item.text, []) if item.kind != "+" else []
        gains[k] = {j: item.weight - _drift(item, source.lines[region[j]]) for j in places}
        if not places and item.kind == " " and item.drop is None:
            gains[k] = dict(_similar(source, item.raw, region))
        if not gains[k] and item.drop is None and k not in spare:
            return None
    skips = [_SKIP if text else _BLANK for text in texts]
    for j in range(1, len(region)):
        if region[j] != region[j - 1] + 1:
            skips[j - 1] = -NEVER
    return Problem(items, gains, skips, spans)


def _drift(item: Item, line: str) -> float:
    """What a match loses when its white space differs."""
    return 0.0 if item.raw.rstrip() == line.rstrip() else min(_DRIFT, item.weight / 2)


def _similar(source: Source, text: str, region: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Lines that share most of their words or letters with a context line which the file does not have."""
    wanted, pairs = words(text), bigrams(text)
    for j, line in enumerate(region):
        alike = likeness(wanted, source.words(line))
        if alike < _ALIKE and dice(pairs, source.bigrams(line)) >= _SPELT_ALIKE:
            alike = _ALIKE
        if alike >= _ALIKE:
            yield j, alike / 2


def _spans(items: Sequence[Item], texts: Sequence[str]) -> Iterator[tuple[int, int, int, dict[int, float]]]:
    """Every change whose added lines the file has somewhere, as (first item, end, lines, gains)."""
    for start, end in changes(items):
        added = [text for item in items[start:end] for text in item.added]
        if any(map(_WORD.search, added)):
            size, gain = len(added), min(3.0, sum(map(weight, added))) / 2
            places = [j for j, text in enumerate(texts) if text == added[0] and texts[j : j + size] == added]
            if places:
                yield start, end, size, dict.fromkeys(places, gain)


def _supported(problem: Problem, path: Sequence[Step]) -> bool:
    """Whether enough of the context around every change was found."""
    for start, end in changes(problem.items):
        found = missing = 0.0
        beside = False
        for step_out in (range(start - 1, -1, -1), range(end, len(problem.items))):
            near = [k for k in step_out if not problem.items[k].elided and problem.items[k].kind != "+"][:3]
            for nth, k in enumerate(near):
                item, step = problem.items[k], path[k]
                if step.kind == "drop":
                    missing += item.weight
                else:
                    found += min(item.weight, problem.gains[k].get(step.column, item.weight))
                    beside = beside or not nth
        removed = sum(item.weight for item in problem.items[start:end])
        if found < missing or (not removed and (found < 0.9 or not beside)) or found + removed < 0.9:
            return False
    return True


def _unrivalled(problem: Problem, path: Sequence[Step], forward: Scores, backward: Scores) -> bool:
    """Whether every change would be clearly worse off anywhere else."""
    best = max(forward.opened[-1])
    for start, _ in changes(problem.items):
        step = path[start]
        for rival, score in through(problem, start, forward, backward):
            if score > best - _MARGIN and rival != step and not _only_blanks(problem, step, rival):
                return False
    return True


def _only_blanks(problem: Problem, step: Step, rival: Step) -> bool:
    """Whether two places for added lines differ by empty lines alone."""
    low, high = sorted((step.column, rival.column))
    return step.kind == rival.kind == "drop" and all(skip == _BLANK for skip in problem.skips[low:high])


def _settled(problem: Problem, path: list[Step], forward: Scores, backward: Scores) -> list[Step]:
    """The path with added lines on the right side of empty lines that the diff left out."""
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
        path[start] = Step("drop", max(columns) if not added[-1] else min(columns))
    return path
