"""Score files by the earlier commits that changed them and have words of the query in their subjects."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from math import log, sqrt

from memory.chunks.words import words
from memory.repo_index.index_types import PastChange
from memory.repo_index.search.query import stem

_ANY = 0.002
"""Score of a commit that has no word of the query. What often changed is likelier to change again."""


def history_scores(query: Collection[str], past: Sequence[PastChange]) -> dict[str, float]:
    """Return the score of each file that was changed. A commit of many files says less about each of them."""
    asked = {stem(word) for word in query}
    shared = [asked.intersection(map(stem, words(subject))) for subject, _ in past]
    counts = Counter(word for some in shared for word in some)
    rarity = {word: log(1 + len(past) / (1 + counts[word])) for word in asked}
    whole = sum(rarity.values()) or 1.0
    totals = defaultdict[str, float](float)
    for some, (_, paths) in zip(shared, past, strict=True):
        likeness = sum(rarity[word] for word in some) / whole
        for path in paths:
            totals[path] += (likeness**2 + _ANY) / sqrt(len(paths))
    return {path: sqrt(total) for path, total in totals.items()}
