"""Search by words and by vectors, joined into one ranking of files with the best chunk of each."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from memory.chunks.words import words
from memory.embeddings.base import Embedder, Vectors
from memory.repo_index.index_store import IndexStore, StoredChunk, embedded_text
from memory.repo_index.index_types import Snippet
from memory.vectors import Collection as VectorCollection

_CHUNKS = 500
"""Chunks of each ranking that are considered."""
_FILES = 50
"""Files of each ranking that are considered."""
_OWN_FILES = 300
"""Files that only a snapshot has and that are compared by vectors, the newest versions first."""
_EMBEDDED_AT_ONCE = 64
"""Chunks of such files that one search embeds at most."""
_RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack et al. 2009), which joins the rankings."""
_VECTOR_WEIGHT = 0.5
"""Weight of the vector ranking. Full text has 1. bench/retrieval.py shows the difference."""
_TEST_WEIGHT = 0.85
"""Factor for tests unless the query is about tests, so that the code under test comes first."""
_MOST_TERMS = 32
_MOST_SCORED = 12_000
"""Chunks that SQLite scores for one query before common words are restricted."""

_STOP_WORDS = {
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "but",
    "by", "can", "could", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in",
    "into", "is", "it", "its", "may", "me", "my", "no", "not", "of", "on", "or", "our", "should", "so",
    "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "to", "was", "we", "were", "what", "when", "where", "which", "while", "who", "why", "will",
    "with", "would", "you", "your",
}  # fmt: skip
_ABOUT_TESTS = re.compile(r"\b(tests?|testing|pytest|unittest|specs?)\b", re.IGNORECASE)
_TEST_PATH = re.compile(
    r"(^|/)(tests?|__tests__|testing|testdata|spec|specs|e2e|benchmarks?|examples?)/"
    r"|(^|/)(test_[^/]*|conftest)\.py$|(_test|_spec|[.-](test|spec|bench))\.\w+$|Tests?\.(java|kt|cs)$"
)


@dataclass
class Hits:
    """Chunks with their scores, best first."""

    scored: list[tuple[StoredChunk, float]]

    def best(self) -> dict[str, tuple[StoredChunk, float]]:
        """Return the best chunk of each file. A file's outline is used only if nothing else matches."""
        best: dict[str, tuple[StoredChunk, float]] = {}
        for hit, score in self.scored:
            if hit.path not in best or (best[hit.path][0].chunk.outline and not hit.chunk.outline):
                best[hit.path] = hit, score
        return best

    def files(self) -> list[str]:
        """Rank files by their best chunk plus a falling share of the next three."""
        by_path = defaultdict[str, list[float]](list)
        for hit, score in self.scored:
            by_path[hit.path].append(score)
        totals = {}
        for path, scores in by_path.items():
            first, *others = sorted(scores, reverse=True)[:4]
            totals[path] = first + 0.3 * sum(score * 0.5**rank for rank, score in enumerate(others))
        return sorted(totals, key=lambda path: (-totals[path], path))[:_FILES]


def terms(query: str) -> list[str]:
    """List the distinct words to search for. Common English words count only if there are no others."""
    distinct = list(dict.fromkeys(words(query)))
    rare = [word for word in distinct if word not in _STOP_WORDS and len(word) > 1]
    return (rare or distinct)[:_MOST_TERMS]


def is_test(path: str) -> bool:
    """Return True if a file is a test or an example, judged by its path."""
    return bool(_TEST_PATH.search(path))


def search_words(store: IndexStore, query: Sequence[str], visible: Collection[int]) -> Hits:
    """Find chunks by words. `visible` are the versions of files that may be shown."""
    if not query:
        return Hits([])
    limit, expression = _CHUNKS, _match_expression(query, store.holding)
    while True:
        scored = store.matching(expression, limit)
        chunks = {chunk.id: chunk for chunk in store.chunks("chunks.id", [id for id, _ in scored])}
        hits = [(chunks[id], score) for id, score in scored if id in chunks and chunks[id].doc in visible]
        # Versions of other snapshots may fill the results, so the search is widened.
        if len(hits) * 4 >= _CHUNKS or len(scored) < limit or limit > 20 * _CHUNKS:
            return Hits(hits)
        limit *= 4


def _match_expression(query: Sequence[str], holding: Callable[[str], int]) -> str:
    """Write an FTS5 expression that matches any of the words. `holding` counts the chunks with a word."""
    total, alternatives = 0, []
    for count, word in sorted((holding(word), word) for word in query):
        total += count
        # SQLite scores every matching chunk, so the commonest words of a large index match names only.
        alternatives.append(f'"{word}"' if total <= _MOST_SCORED else f'{{path symbol}} : "{word}"')
    return " OR ".join(alternatives)


def search_vectors(
    store: IndexStore, collection: VectorCollection | None, embedder: Embedder, query: str, visible: set[int]
) -> Hits:
    """Find chunks by vectors, in Chroma or else among all stored ones.

    Raises VectorsUnavailable and EmbeddingError.
    """
    embedding = embedder.embed([query])[0]
    by_key = (
        collection.query(embedding, _CHUNKS)
        if collection
        else store.nearest(embedder.key, embedding, _CHUNKS)
    )
    nearest = dict(by_key)
    on_disk = visible.intersection(store.current().values())
    scored = [(hit, nearest[hit.key]) for hit in store.chunks("key", list(nearest)) if hit.doc in on_disk]
    # The collection lacks what only the snapshot has.
    own = store.chunks("docs.id", sorted(visible - on_disk)[-_OWN_FILES:])
    vectors = _vectors_of(store, embedder, own)
    scored += [(chunk, float(vectors[chunk.key] @ embedding)) for chunk in own if chunk.key in vectors]
    return Hits(sorted(scored, key=lambda pair: (-pair[1], pair[0].path, pair[0].id))[:_CHUNKS])


def _vectors_of(store: IndexStore, embedder: Embedder, chunks: Sequence[StoredChunk]) -> dict[str, Vectors]:
    """Return the vectors of chunks by key. A few of those without one are embedded now."""
    by_key = {chunk.key: chunk for chunk in chunks}
    vectors = store.embeddings(embedder.key, list(by_key), embedder.dimension)
    lacking = [chunk for key, chunk in by_key.items() if key not in vectors][:_EMBEDDED_AT_ONCE]
    if lacking:
        keys = [chunk.key for chunk in lacking]
        rows = embedder.embed([embedded_text(chunk.path, chunk.chunk) for chunk in lacking])
        with store.transaction():
            store.keep(embedder.key, keys, rows)
        vectors.update(zip(keys, rows, strict=True))
    return vectors


def unembedded_files(text: Hits, store: IndexStore, model: str) -> set[str]:
    """Return the files of which the best chunk has no vector yet."""
    best = {path: hit.key for path, (hit, _) in text.best().items()}
    embedded = store.embedded(model, list(best.values()))
    return {path for path, key in best.items() if key not in embedded}


def join(query: str, text: Hits, near: Hits, k: int, unembedded: Collection[str] = ()) -> list[Snippet]:
    """Join both rankings into the `k` best files. `unembedded` are files without vectors yet."""
    best_text, best_near = text.best(), near.best()
    by_text, by_vectors = text.files(), near.files()
    for rank, path in enumerate(by_text):
        # A file that was just saved takes its text rank in both rankings. Otherwise it would come last.
        if path in unembedded and path not in best_near:
            by_vectors.insert(rank, path)
    scores = defaultdict[str, float](float)
    for weight, ranking in ((1.0, by_text), (_VECTOR_WEIGHT, by_vectors)):
        for rank, path in enumerate(ranking, 1):
            scores[path] += weight / (_RRF_K + rank)
    if not _ABOUT_TESTS.search(query):
        scores.update({path: score * _TEST_WEIGHT for path, score in scores.items() if is_test(path)})
    snippets, query_terms = [], terms(query)
    for path in sorted(scores, key=lambda path: (-scores[path], path))[:k]:
        hit = (best_text.get(path) or best_near[path])[0]
        chunk, why = hit.chunk, _why(query_terms, hit, best_near.get(path))
        snippets.append(Snippet(path, chunk.symbol, chunk.first, chunk.last, chunk.text, scores[path], why))
    return snippets


def _why(query: Sequence[str], hit: StoredChunk, near: tuple[StoredChunk, float] | None) -> str:
    present = set(terms(f"{hit.path} {hit.chunk.symbol} {hit.chunk.text}"))
    shared = [word for word in query if {word, word.removesuffix("s"), word + "s"} & present]
    reasons = [f"words: {', '.join(shared[:8])}"] if shared else []
    if near:
        reasons.append(f"similarity {near[1]:.2f}")
    return "; ".join(reasons)
