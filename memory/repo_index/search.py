"""Search by words and by meaning, as one ranking of files with the best chunk of each."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from memory.embeddings.base import Vectors
from memory.repo_index.base import Snippet, VectorCollection
from memory.repo_index.index_rows import Found
from memory.repo_index.query import is_about_tests, is_test, matching, terms
from memory.repo_index.rank import fused, pooled
from memory.repo_index.store import Store

WEIGHTS = (1.0, 1.0, 1.0)
"""What a word of the path, of the symbol and of the body counts."""
_CHUNKS = 500
"""Chunks of each ranking that are looked at."""
_MEANING_WORTH = 0.5
"""What a place among the vectors counts beside one in full text: bench/retrieval.py shows the difference."""
_TEST_WORTH = 0.85
"""What a test's place counts where not tests are looked for: those of what it tests stand before it."""


@dataclass
class Hits:
    """Chunks with their scores, best first."""

    scored: list[tuple[Found, float]]

    def best(self) -> dict[str, tuple[Found, float]]:
        """The best chunk of each file; a real one rather than the outline."""
        found: dict[str, tuple[Found, float]] = {}
        for hit, score in self.scored:
            if hit.path not in found or (found[hit.path][0].chunk.outline and not hit.chunk.outline):
                found[hit.path] = hit, score
        return found

    def __add__(self, other: "Hits") -> "Hits":
        return Hits(sorted(self.scored + other.scored, key=lambda pair: -pair[1]))

    def files(self) -> list[str]:
        """The files, ranked."""
        return pooled((hit.path, score) for hit, score in self.scored)


def by_words(store: Store, asked: Sequence[str], is_seen: Callable[[int], bool]) -> Hits:
    """Find chunks by their words."""
    if not asked:
        return Hits([])
    limit, wanted = _CHUNKS, matching(asked, store.holding)
    while True:
        scored = store.matching(wanted, WEIGHTS, limit)
        known = store.by_id([id for id, _ in scored])
        hits = [(known[id], score) for id, score in scored if id in known and is_seen(known[id].doc)]
        if len(hits) * 4 >= _CHUNKS or len(scored) < limit or limit > 20 * _CHUNKS:
            return Hits(hits)
        limit *= 4


def by_meaning(
    store: Store, collection: VectorCollection, asked: Vectors, is_seen: Callable[[int], bool]
) -> Hits:
    """Find chunks by their vectors; raises VectorsUnavailable."""
    nearest = dict(collection.query(asked, _CHUNKS))
    found = [(hit, nearest[hit.key]) for hit in store.by_key(list(nearest)) if is_seen(hit.doc)]
    return Hits(sorted(found, key=lambda pair: (-pair[1], pair[0].path, pair[0].id))[:_CHUNKS])


def unembedded(text: Hits, store: Store, model: str) -> set[str]:
    """The files whose vectors are still to come."""
    best = {path: hit.key for path, (hit, _) in text.best().items()}
    there = store.embedded(model, list(best.values()))
    return {path for path, key in best.items() if key not in there}


def joined(query: str, text: Hits, meaning: Hits, k: int, late: Collection[str] = ()) -> list[Snippet]:
    """Join both rankings; `late` are files whose vectors are still to come, which must not set them back."""
    asked, worded, near = terms(query), text.best(), meaning.best()
    snippets = []
    by_text, by_meaning = text.files(), meaning.files()
    for place, path in enumerate(by_text):
        if path in late and path not in near:
            by_meaning.insert(place, path)
    ranked = fused([(1.0, by_text), (_MEANING_WORTH, by_meaning)])
    if not is_about_tests(query):
        ranked = [(path, score * (_TEST_WORTH if is_test(path) else 1)) for path, score in ranked]
        ranked.sort(key=lambda pair: -pair[1])
    for path, score in ranked[:k]:
        hit = (near.get(path) or worded[path])[0] if path not in worded else worded[path][0]
        why = _why(asked, hit, near.get(path))
        chunk = hit.chunk
        snippets.append(Snippet(path, chunk.symbol, chunk.first, chunk.last, chunk.text, score, why))
    return snippets


def _why(asked: Sequence[str], hit: Found, near: tuple[Found, float] | None) -> str:
    there = set(terms(f"{hit.path} {hit.chunk.symbol} {hit.chunk.text}"))
    shared = [
        word for word in asked if word in there or word.removesuffix("s") in there or word + "s" in there
    ]
    reasons = [f"words: {', '.join(shared[:8])}"] if shared else []
    if near:
        reasons.append(f"similarity {near[1]:.2f}")
    return "; ".join(reasons)
