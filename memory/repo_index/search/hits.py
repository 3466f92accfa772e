"""Search chunks by words and by vectors."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from memory.embeddings.base import Embedder, Vectors
from memory.repo_index.index_store import IndexStore, StoredChunk, embedded_text
from memory.vectors import Collection as VectorCollection

_CHUNKS = 500
"""Chunks of each ranking that are considered."""
_OWN_FILES = 300
"""Files that only a snapshot has and that are compared by vectors, the newest versions first."""
_EMBEDDED_AT_ONCE = 64
"""Chunks of such files that one search embeds at most."""
_MOST_SCORED = 12_000
"""Chunks that SQLite scores for one query before common words are restricted."""
_SIMILAR = {"openai": 0.4, "minilm": 0.3, "hash": 0.3}
"""Similarity from which a chunk is about a query, by provider.

Of commit subjects 1 in 30 reaches neither it nor enough words. Of queries about something else 1 in 30 does.
`bench/retrieval.py` prints both. OpenAI's is the usual one, not measured here.
"""


@dataclass
class Hits:
    """Chunks with their scores, best first. From the score `enough` a chunk is about the query."""

    scored: list[tuple[StoredChunk, float]]
    enough: float = inf

    def best(self) -> dict[str, tuple[StoredChunk, float]]:
        """Return the best chunk of each file. A file's outline is used only if nothing else matches."""
        best: dict[str, tuple[StoredChunk, float]] = {}
        for hit, score in self.scored:
            if hit.path not in best or (best[hit.path][0].chunk.outline and not hit.chunk.outline):
                best[hit.path] = hit, score
        return best

    def totals(self) -> dict[str, float]:
        """Score files by their best chunk plus a falling share of the next three, best first."""
        by_path = defaultdict[str, list[float]](list)
        for hit, score in self.scored:
            by_path[hit.path].append(score)
        totals = {}
        for path, scores in by_path.items():
            first, *others = sorted(scores, reverse=True)[:4]
            totals[path] = first + 0.3 * sum(score * 0.5**rank for rank, score in enumerate(others))
        return dict(sorted(totals.items(), key=lambda pair: (-pair[1], pair[0])))


def search_words(store: IndexStore, expression: str, visible: Collection[int]) -> Hits:
    """Find chunks by an FTS5 expression. `visible` are the versions of files that may be shown."""
    if not expression:
        return Hits([])
    limit = _CHUNKS
    while True:
        scored = store.matching(expression, limit)
        chunks = {chunk.id: chunk for chunk in store.chunks("chunks.id", [id for id, _ in scored])}
        hits = [(chunks[id], score) for id, score in scored if id in chunks and chunks[id].doc in visible]
        # Versions of other snapshots may fill the results, so the search is widened.
        if len(hits) * 4 >= _CHUNKS or len(scored) < limit or limit > 20 * _CHUNKS:
            return Hits(hits)
        limit *= 4


def match_expression(counts: Mapping[str, int], phrases: Sequence[tuple[str, str]]) -> str:
    """Write an FTS5 expression that matches any of the words, and scores those higher that stand together.

    `counts` are the chunks that hold a word. `phrases` are pairs of these words.
    """
    total, alternatives, common = 0, [], set[str]()
    for count, word in sorted((count, word) for word, count in counts.items()):
        total += count
        # SQLite scores every matching chunk, so the commonest words of a large index match names only.
        if total > _MOST_SCORED:
            common.add(word)
        alternatives.append(f'{{path symbol}} : "{word}"' if word in common else f'"{word}"')
    alternatives += [f'"{one} {after}"' for one, after in phrases if common.isdisjoint((one, after))]
    return " OR ".join(alternatives)


def search_vectors(
    store: IndexStore,
    collection: VectorCollection | None,
    embedder: Embedder,
    query: str,
    visible: Collection[int],
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
    on_disk = set(visible).intersection(store.current().values())
    scored = [(hit, nearest[hit.key]) for hit in store.chunks("key", list(nearest)) if hit.doc in on_disk]
    # The collection lacks what only the snapshot has.
    own = store.chunks("docs.id", sorted(set(visible) - on_disk)[-_OWN_FILES:])
    vectors = _vectors_of(store, embedder, own)
    scored += [(chunk, float(vectors[chunk.key] @ embedding)) for chunk in own if chunk.key in vectors]
    best_first = sorted(scored, key=lambda pair: (-pair[1], pair[0].path, pair[0].id))[:_CHUNKS]
    return Hits(best_first, _SIMILAR[embedder.key.partition("-")[0]])


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
