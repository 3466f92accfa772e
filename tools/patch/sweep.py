"""The dynamic programming behind alignment: scores and best path of a hunk's items through a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NEVER = -1e9  # a score that no sum of gains can make good
_JUMP, _ELIDED_JUMP = 2.2, 0.1  # prices of going on elsewhere, also after `...`


@dataclass(slots=True)
class Item:
    """A context line, a removed line, or a run of added lines, which uses no line of the file."""

    kind: str
    at: int
    text: str = ""
    raw: str = ""
    weight: float = 0.0
    drop: float | None = None
    elided: bool = False
    added: list[str] = field(default_factory=list)


class AlignmentStep(NamedTuple):
    """The fate of an item ("match", "drop" or "done") and its line in the region."""

    kind: str
    column: int


@dataclass(slots=True)
class AlignmentProblem:
    """Items and the lines to align them with. `spans` are changes that may already be in the file."""

    items: list[Item]
    gains: list[dict[int, float]]
    skips: list[float]
    spans: list[tuple[int, int, int, dict[int, float]]]
    starts: list[float] | None = None

    def reversed(self) -> "AlignmentProblem":
        n, m = len(self.skips), len(self.items)
        gains = [{n - 1 - j: gain for j, gain in row.items()} for row in reversed(self.gains)]
        spans = [
            (m - end, m - start, size, {n - size - j: gain for j, gain in matches.items()})
            for start, end, size, matches in self.spans
        ]
        return AlignmentProblem(self.items[::-1], gains, self.skips[::-1], spans)

    def jump(self, i: int) -> float | None:
        """Return the price of a jump between items i - 1 and i. None if they belong together."""
        before, after = self.items[i - 1], self.items[i]
        if before.kind != " " and after.kind != " ":
            return None
        return _ELIDED_JUMP if before.elided or after.elided else _JUMP

    def sweep(self) -> "Scores":
        """Compute the best scores of the first i items, if the lines up to j are used."""
        n, m = len(self.skips), len(self.items)
        first = self.starts or [0.0] * (n + 1)
        scores = Scores([first], [first])
        for i, item in enumerate(self.items):
            row, drop = scores.closed[-1], item.drop
            new = [NEVER] * (n + 1) if drop is None else [score - drop for score in row]
            for j, gain in self.gains[i].items():
                new[j + 1] = max(new[j + 1], row[j] + gain)
            for start, end, size, matches in self.spans:
                if end == i + 1:
                    for j, gain in matches.items():
                        new[j + size] = max(new[j + size], scores.closed[start][j] + gain)
            price = self.jump(i + 1) if i + 1 < m else None
            scores.opened.append(new)
            scores.closed.append(new if price is None else self._closed(new, price))
        return scores

    def _closed(self, row: list[float], jump: float) -> list[float]:
        """Return a row of scores after skipping lines of the file."""
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
class Scores:
    """The best scores in row i and column j, before (`opened`) and after (`closed`) skipping lines."""

    opened: list[list[float]]
    closed: list[list[float]]


def trace(problem: AlignmentProblem, scores: Scores) -> list[AlignmentStep] | None:
    """Return the fate of each item on the best path."""
    last = scores.opened[-1]
    i, j = len(problem.items), max(range(len(last)), key=last.__getitem__)
    if last[j] <= 0:
        return None
    path: list[AlignmentStep] = []
    while i:
        start, step = _back(problem, scores, i, j)
        path += [step] * (i - start)
        i, j = start, step.column
        # Equality of floats is safe: the sweep computed the same sums in the same order.
        while scores.closed[i][j] != scores.opened[i][j]:
            row = scores.closed[i]
            if row[j - 1] - problem.skips[j - 1] == row[j]:
                j -= 1
            else:
                j = max(range(j), key=scores.opened[i].__getitem__)
    return path[::-1]


def _back(problem: AlignmentProblem, scores: Scores, i: int, j: int) -> tuple[int, AlignmentStep]:
    """Find the step that led to the opened score of i items and j lines."""
    score, row, item = scores.opened[i][j], scores.closed[i - 1], problem.items[i - 1]
    gain = problem.gains[i - 1].get(j - 1) if j else None
    if gain is not None and row[j - 1] + gain == score:
        return i - 1, AlignmentStep("match", j - 1)
    for start, end, size, matches in problem.spans:
        if end == i and j - size in matches and scores.closed[start][j - size] + matches[j - size] == score:
            return start, AlignmentStep("done", j - size)
    if item.drop is not None and row[j] - item.drop == score:
        return i - 1, AlignmentStep("drop", j)
    raise AssertionError("no step leads here")


def through(
    problem: AlignmentProblem, i: int, forward: Scores, backward: Scores
) -> Iterator[tuple[AlignmentStep, float]]:
    """Yield the best score of an alignment for each place of item i, the first of a change."""
    n, m = len(problem.skips), len(problem.items)
    row, rest = forward.closed[i], backward.closed[m - i - 1]
    if problem.items[i].kind == "+":
        for j in range(n + 1):
            yield AlignmentStep("drop", j), row[j] + rest[n - j]
    for j, gain in problem.gains[i].items():
        yield AlignmentStep("match", j), row[j] + gain + rest[n - j - 1]
    for start, end, size, matches in problem.spans:
        if start == i:
            after = backward.closed[m - end]
            for j, gain in matches.items():
                yield AlignmentStep("done", j), row[j] + gain + after[n - j - size]


def changes(items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Yield the runs of items that are not context."""
    i = 0
    while i < len(items):
        end = i
        while end < len(items) and items[end].kind != " ":
            end += 1
        if end > i:
            yield i, end
        i = end + 1
