"""Answer a query: the places of what it names, then the best chunk of each file that fits."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from memory.chunks.words import words
from memory.repo_index.index_store import IndexStore, StoredChunk
from memory.repo_index.index_types import PastChange, Snippet
from memory.repo_index.search.file_ranking import FILES, WEIGHTS, FileRanking
from memory.repo_index.search.history import history_scores
from memory.repo_index.search.hits import Hits, match_expression, search_words
from memory.repo_index.search.named_places import NamedPlace, NamedPlaces
from memory.repo_index.search.query import Query, kind_of

SearchVectors = Callable[[str, Collection[int]], Hits]
"""Finds the nearest chunks of some versions of files, none while there are no vectors."""
FindUnembedded = Callable[[Hits], set[str]]
"""Returns the files of which the best chunk has no vector yet."""


@dataclass(frozen=True)
class CodeSearch:
    """Searches the visible versions of files (ids by path). `past` returns the commits before them."""

    store: IndexStore
    visible: Mapping[str, int]
    search_vectors: SearchVectors
    find_unembedded: FindUnembedded
    past: Callable[[], Sequence[PastChange]] = tuple

    def ranking(self, query: Query) -> FileRanking:
        """Search by words and by vectors, and read the history."""
        counts = {word: self.store.holding(word) for word in query.spoken}
        docs = set(self.visible.values())
        text = search_words(
            self.store, match_expression({word: counts[word] for word in query.terms}, query.phrases), docs
        )
        near = self.search_vectors(query.text, docs)
        unembedded = self.find_unembedded(text) if near.scored else set[str]()
        paths = {*list(text.totals())[:FILES], *list(near.totals())[:FILES]}
        chunks = self.store.chunks("docs.id", [self.visible[path] for path in paths])
        past = history_scores(query.terms, self.past())
        return FileRanking(query, text, near, past, unembedded, chunks, counts, self.store.size())

    def snippets(
        self, text: str, k: int, weights: Mapping[str, float] = WEIGHTS, *, all_files: bool = False
    ) -> list[Snippet]:
        """Return the `k` best places, none if nothing is about the query.

        With `all_files`, files that are not about it follow, so that there are `k` where there are so many.
        """
        query = Query.of(text)
        ranking = self.ranking(query)
        scores = ranking.scores(weights)
        named = NamedPlaces(self.store, self.visible, lambda path: scores.get(path, 0.0)).of(query)
        shown = {place.chunk.path for place in named}
        snippets = [_named(place, scores) for place in _balanced(named, k)]
        # A name alone asks for its places. What is similar to it would be noise.
        if named and query.is_bare and not all_files:
            return snippets
        fitting = ranking.ordered(scores) if all_files else ranking.fitting(scores)
        rest = [path for path in fitting if path not in shown]
        return [*snippets, *(_ranked(path, ranking, scores) for path in rest[: k - len(snippets)])]


def _balanced(named: Sequence[NamedPlace], k: int) -> list[NamedPlace]:
    """Return at most `k` places in their order, so that uses leave room for tests and documents."""
    room = {"code": (k + 1) // 2, "test": (k + 1) // 3, "docs": 1, "changelog": 1}
    kept, left = set[int](), list[int]()
    for number, place in enumerate(named):
        kind = kind_of(place.chunk.path)
        if room[kind] and len(kept) < k:
            room[kind] -= 1
            kept.add(number)
        else:
            left.append(number)
    kept.update(left[: k - len(kept)])
    return [place for number, place in enumerate(named) if number in kept]


def _named(place: NamedPlace, scores: Mapping[str, float]) -> Snippet:
    return _snippet(place.chunk, scores.get(place.chunk.path, 0.0), place.why)


def _ranked(path: str, ranking: FileRanking, scores: Mapping[str, float]) -> Snippet:
    by_vectors = ranking.near_best.get(path)
    hit = (ranking.text_best.get(path) or ranking.near_best[path])[0]
    return _snippet(hit, scores[path], _why(ranking.query.terms, hit, by_vectors))


def _snippet(hit: StoredChunk, score: float, why: str) -> Snippet:
    chunk = hit.chunk
    return Snippet(hit.path, chunk.symbol, chunk.first, chunk.last, chunk.text, score, why)


def _why(query: Sequence[str], hit: StoredChunk, near: tuple[StoredChunk, float] | None) -> str:
    present = set(words(f"{hit.path} {hit.chunk.symbol} {hit.chunk.text}"))
    shared = [word for word in query if {word, word.removesuffix("s"), word + "s"} & present]
    reasons = [f"words: {', '.join(shared[:8])}"] if shared else []
    if near:
        reasons.append(f"similarity {near[1]:.2f}")
    return "; ".join(reasons)
