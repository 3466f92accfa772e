"""Alignment of a hunk whose context is not quite the file's, by dynamic programming.

Removed lines must match token for token. Context must match or resemble a line of the file; lines of the file
may be missing from it, and at a price it may continue elsewhere. Changes that the file already has may stand
for themselves. The result counts only when no other place comes near: the best score through each alternative
is known from a forward and a backward sweep.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tools.patch.parse import Line
from tools.patch.readings import elided
from tools.patch.source import Source, bigrams, dice, plain, words

_NEVER = -1e9
_CELLS = 300_000
_SKIP, _BLANK, _BLANK_BESIDE = 0.7, 0.05, 0.6
_JUMP, _ELIDED_JUMP = 2.2, 0.1
_DRIFT = 0.3
_MARGIN = 0.65
_ALIKE = 0.6
_WORD = re.compile(r"\w")


def weight(text: str) -> float:
    """How much one matching line tells: a line with words, one of brackets, an empty one."""
    return 1.0 if _WORD.search(text) else 0.4 if text else 0.15


@dataclass(slots=True)
class _Item:
    """A context or removed line, or one run of added lines, which takes no line of the file."""

    kind: str
    at: int
    text: str = ""
    raw: str = ""
    weight: float = 0.0
    drop: float | None = None
    elided: bool = False
    added: list[str] = field(default_factory=list)


class _Step(NamedTuple):
    """What became of an item, and the file's line where: "match", "drop" or "done"."""

    kind: str
    column: int


@dataclass(slots=True)
class _Problem:
    """Items against the chosen lines of the file; `spans` are changes that may be there already."""

    items: list[_Item]
    gains: list[dict[int, float]]
    skips: list[float]
    spans: list[tuple[int, int, int, dict[int, float]]]

    def reversed(self) -> "_Problem":
        n, m = len(self.skips), len(self.items)
        gains = [{n - 1 - j: gain for j, gain in row.items()} for row in reversed(self.gains)]
        spans = [
            (m - end, m - start, size, {n - size - j: gain for j, gain in found.items()})
            for start, end, size, found in self.spans
        ]
        return _Problem(self.items[::-1], gains, self.skips[::-1], spans)

    def jump(self, i: int) -> float | None:
        """The price of going on elsewhere between items i - 1 and i; None where they belong together."""
        before, after = self.items[i - 1], self.items[i]
        if before.kind != " " and after.kind != " ":
            return None
        return _ELIDED_JUMP if before.elided or after.elided else _JUMP

    def sweep(self) -> "_Scores":
        """The best scores of the first i items when the file's lines up to j are used."""
        n, m = len(self.skips), len(self.items)
        scores = _Scores([[0.0] * (n + 1)], [[0.0] * (n + 1)])
        for i, item in enumerate(self.items):
            row, drop = scores.closed[-1], item.drop
            new = [_NEVER] * (n + 1) if drop is None else [score - drop for score in row]
            for j, gain in self.gains[i].items():
                new[j + 1] = max(new[j + 1], row[j] + gain)
            for start, end, size, found in self.spans:
                if end == i + 1:
                    for j, gain in found.items():
                        new[j + size] = max(new[j + size], scores.closed[start][j] + gain)
            price = self.jump(i + 1) if i + 1 < m else None
            scores.opened.append(new)
            scores.closed.append(new if price is None else self._closed(new, price))
        return scores

    def _closed(self, row: list[float], jump: float) -> list[float]:
        """A row that may go on after skipped lines of the file."""
        best = near = row[0]
        closed = [near]
        for score, skip in zip(row[1:], self.skips, strict=True):
            near -= skip
            if near < best - jump:
                near = best - jump
            if near < score:
                near = score
                if score > best:
                    best = score
            closed.append(near)
        return closed


@dataclass(slots=True)
class _Scores:
    """Row i, column j: the best score before (opened) and after (closed) skipping lines of the file."""

    opened: list[list[float]]
    closed: list[list[float]]


@dataclass(frozen=True, slots=True)
class Aligned:
    """Where the lines of a reading went; `done` marks the lines of changes that the file already has."""

    where: tuple[int | None, ...]
    done: frozenset[int]


def align(source: Source, lines: Sequence[Line]) -> Aligned | None:
    """The one convincing alignment of a hunk's lines with the file's, or None."""
    items = _items(lines)
    region = _region(source, items)
    if not region or len(region) * len(items) > _CELLS:
        return None
    problem = _problem(source, items, region)
    forward, backward = problem.sweep(), problem.reversed().sweep()
    path = _trace(problem, forward)
    if path is None or not _supported(problem, path) or not _unrivalled(problem, path, forward, backward):
        return None
    path = _settled(problem, path, forward, backward)
    where: list[int | None] = [None] * len(lines)
    done: set[int] = set()
    for i, (item, step) in enumerate(zip(items, path, strict=True)):
        if step.kind == "done":
            done.update(range(item.at, item.at + max(1, len(item.added))))
        elif step.kind == "match":
            where[item.at] = region[step.column]
        elif item.kind == "+":
            follows = i and path[i - 1] == _Step("match", step.column - 1)
            inside = step.column < len(region) and not follows
            where[item.at] = region[step.column] if inside else region[step.column - 1] + 1
    return Aligned(tuple(where), frozenset(done))


def _items(lines: Sequence[Line]) -> list[_Item]:
    items: list[_Item] = []
    for at, line in enumerate(lines):
        text = plain(line.text)
        if line.kind == "+":
            if not items or items[-1].kind != "+" or lines[at - 1].kind != "+":
                items.append(_Item("+", at, drop=0.0))
            items[-1].added.append(text)
        elif line.kind == "-":
            items.append(_Item("-", at, text, line.text, weight(text)))
        else:
            beside = any(lines[k].kind != " " for k in (at - 1, at + 1) if 0 <= k < len(lines))
            gap = elided(line)
            blank = _BLANK_BESIDE if beside and not line.bare else _BLANK
            drop = 0.0 if gap else None if text else blank
            items.append(_Item(" ", at, text, line.text, weight(text), drop, gap))
    return items


def _region(source: Source, items: Sequence[_Item]) -> list[int]:
    """The file's lines worth looking at: all of a short file, else those around telling lines."""
    size = len(source.lines)
    index = source.index(4)
    if size * len(items) <= 40_000:
        return list(range(size))
    chosen: set[int] = set()
    reach = len(items) + 12
    for item in items:
        places = index.get(item.text, []) if item.weight == 1.0 else []
        for place in places if len(places) <= 8 else []:
            chosen.update(range(max(0, place - reach), min(size, place + reach)))
    return sorted(chosen)


def _problem(source: Source, items: list[_Item], region: Sequence[int]) -> _Problem:
    form = source.form(4)
    texts = [form[line] for line in region]
    columns: dict[str, list[int]] = {}
    for j, text in enumerate(texts):
        columns.setdefault(text, []).append(j)
    gains: list[dict[int, float]] = []
    for item in items:
        places = columns.get(item.text, []) if item.kind != "+" else []
        if places or item.kind != " " or item.elided or not item.text:
            gains.append({j: item.weight - _drift(item, source.lines[region[j]]) for j in places})
        else:
            gains.append(dict(_similar(source, item.raw, region)))
    skips = [_SKIP if text else _BLANK for text in texts]
    for j in range(1, len(region)):
        if region[j] != region[j - 1] + 1:
            skips[j - 1] = -_NEVER
    return _Problem(items, gains, skips, list(_spans(items, texts, columns)))


def _drift(item: _Item, line: str) -> float:
    """What a match loses when its white space differs."""
    return 0.0 if item.raw.rstrip() == line.rstrip() else min(_DRIFT, item.weight / 2)


def _similar(source: Source, text: str, region: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Lines that share most of their words or letters with a context line which the file does not have."""
    wanted, pairs = words(text), bigrams(text)
    for j, line in enumerate(region):
        likeness = dice(wanted, source.words(line))
        if likeness < _ALIKE and pairs:
            likeness = dice(pairs, source.bigrams(line)) - 0.1
        if likeness >= _ALIKE:
            yield j, likeness / 2


def _spans(
    items: Sequence[_Item], texts: Sequence[str], columns: dict[str, list[int]]
) -> Iterator[tuple[int, int, int, dict[int, float]]]:
    """Every change whose added lines the file has somewhere, as (first item, end, lines, gains)."""
    i = 0
    while i < len(items):
        end = i
        while end < len(items) and items[end].kind != " ":
            end += 1
        added = [text for item in items[i:end] for text in item.added]
        if any(map(_WORD.search, added)) and added != [
            item.text for item in items[i:end] if item.kind == "-"
        ]:
            gain = min(3.0, sum(map(weight, added))) / 2
            size = len(added)
            found = {j: gain for j in columns.get(added[0], []) if list(texts[j : j + size]) == added}
            if found:
                yield i, end, size, found
        i = max(end, i + 1)


def _trace(problem: _Problem, scores: _Scores) -> list[_Step] | None:
    """What became of each item on the best path."""
    last = scores.opened[-1]
    i, j = len(problem.items), max(range(len(last)), key=last.__getitem__)
    if last[j] <= 0:
        return None
    path: list[_Step] = []
    while i:
        start, step = _back(problem, scores, i, j)
        path += [step] * (i - start)
        i, j = start, step.column
        while scores.closed[i][j] != scores.opened[i][j]:
            row = scores.closed[i]
            if row[j - 1] - problem.skips[j - 1] == row[j]:
                j -= 1
            else:
                j = max(range(j), key=scores.opened[i].__getitem__)
    return path[::-1]


def _back(problem: _Problem, scores: _Scores, i: int, j: int) -> tuple[int, _Step]:
    """The step that led to the opened score of i items and j lines."""
    score, row, item = scores.opened[i][j], scores.closed[i - 1], problem.items[i - 1]
    gain = problem.gains[i - 1].get(j - 1) if j else None
    if gain is not None and row[j - 1] + gain == score:
        return i - 1, _Step("match", j - 1)
    for start, end, size, found in problem.spans:
        if end == i and j - size in found and scores.closed[start][j - size] + found[j - size] == score:
            return start, _Step("done", j - size)
    if item.drop is not None and row[j] - item.drop == score:
        return i - 1, _Step("drop", j)
    raise AssertionError("no step leads here")


def _supported(problem: _Problem, path: Sequence[_Step]) -> bool:
    """Whether enough of the context around every change was found."""
    for start, end in _changes(problem.items):
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


def _changes(items: Sequence[_Item]) -> Iterator[tuple[int, int]]:
    """The runs of items that are not context."""
    i = 0
    while i < len(items):
        end = i
        while end < len(items) and items[end].kind != " ":
            end += 1
        if end > i:
            yield i, end
        i = end + 1


def _unrivalled(problem: _Problem, path: Sequence[_Step], forward: _Scores, backward: _Scores) -> bool:
    """Whether every change would be clearly worse off anywhere else."""
    best = max(forward.opened[-1])
    for start, _ in _changes(problem.items):
        step = path[start]
        for rival, score in _through(problem, start, forward, backward):
            if score > best - _MARGIN and rival != step and not _only_blanks(problem, step, rival):
                return False
    return True


def _through(problem: _Problem, i: int, forward: _Scores, backward: _Scores) -> Iterator[tuple[_Step, float]]:
    """The best score of all alignments that put item i, the first of a change, at each place."""
    n, m = len(problem.skips), len(problem.items)
    row, rest = forward.closed[i], backward.closed[m - i - 1]
    if problem.items[i].kind == "+":
        for j in range(n + 1):
            yield _Step("drop", j), row[j] + rest[n - j]
    for j, gain in problem.gains[i].items():
        yield _Step("match", j), row[j] + gain + rest[n - j - 1]
    for start, end, size, found in problem.spans:
        if start == i:
            after = backward.closed[m - end]
            for j, gain in found.items():
                yield _Step("done", j), row[j] + gain + after[n - j - size]


def _only_blanks(problem: _Problem, step: _Step, rival: _Step) -> bool:
    """Whether two places for added lines differ by empty lines alone."""
    low, high = sorted((step.column, rival.column))
    return step.kind == rival.kind == "drop" and all(skip == _BLANK for skip in problem.skips[low:high])


def _settled(problem: _Problem, path: list[_Step], forward: _Scores, backward: _Scores) -> list[_Step]:
    """The path with added lines on the right side of empty lines that the diff left out."""
    best = max(forward.opened[-1])
    path = list(path)
    for start, end in _changes(problem.items):
        added, step = problem.items[start].added, path[start]
        if end != start + 1 or not added or step.kind != "drop":
            continue
        columns = [
            rival.column
            for rival, score in _through(problem, start, forward, backward)
            if score > best - 0.01 and _only_blanks(problem, step, rival)
        ]
        path[start] = _Step("drop", max(columns) if not added[-1] else min(columns))
    return path
