"""From chunks to files, and from two rankings to one."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

K = 60
DEPTH = 50
"""Files of each ranking that count."""


def pooled(scored: Iterable[tuple[str, float]]) -> list[str]:
    """Rank files by their chunks' scores (higher is better): the best, and ever less of the next three."""
    by_path = defaultdict[str, list[float]](list)
    for path, score in scored:
        by_path[path].append(score)
    worth = {path: _worth(sorted(scores, reverse=True)) for path, scores in by_path.items()}
    return sorted(worth, key=lambda path: (-worth[path], path))[:DEPTH]


def _worth(scores: Sequence[float]) -> float:
    return scores[0] + 0.3 * sum(score * 0.5**number for number, score in enumerate(scores[1:4]))


def fused(rankings: Iterable[tuple[float, Sequence[T]]]) -> list[tuple[T, float]]:
    """Join rankings, each with its weight, by reciprocal rank (Cormack et al. 2009), best first."""
    worth = defaultdict[T, float](float)
    for weight, ranking in rankings:
        for number, item in enumerate(ranking, 1):
            worth[item] += weight / (K + number)
    return sorted(worth.items(), key=lambda pair: (-pair[1], str(pair[0])))
