"""Similarity of tasks: cosine of their vectors in Chroma, or of their hashed words without it."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from threading import Event, Thread

import numpy as np

from memory.embeddings import Embedder, EmbeddingError
from memory.embeddings.hashed import HashEmbedder
from memory.records.episodes import Title
from memory.repo_index import OpenCollection
from memory.vectors import Collection as VectorCollection
from memory.vectors import VectorsUnavailable, collection_name

COMPARED_CHARACTERS = 2_000
"""Length of the beginning of a task that is compared."""
NEAREST = 50
CLOSING_SECONDS = 2.0
COMPARISON_VERSION = "1"
"""Changes with the text that is compared, so that a new version gets a new collection."""

THRESHOLDS = {"openai": 0.45, "minilm": 0.45, "hash": 0.35}
"""Least similarity that is worth an agent's attention, by provider.

Of 15 pairs of tasks that help each other, MiniLM has 11 above it and hashed words 8. Of pairs of unrelated
tasks (commit subjects of four projects), 1 in 500 and 1 in 300. OpenAI's is the usual one, not measured here.
"""
ELSEWHERE = 0.1
"""Additional similarity that a task in another repository needs."""

_COMMON_WORDS = re.compile(
    r"\b(?:add|allow|also|accept|bump|change|class|code|create|default|display|do|document|drop|enable|fix(?:es|ed)?"
    r"|files?|function|give|handle|implement|improve|instead|keep|let|make|method|move|new|option|please|print"
    r"|refactor|remove|rename|replace|return|set|should|show|so|support|tests?|too|type|update|used?|when|write)\b",
    re.IGNORECASE,
)
"""Words of all kinds of tasks. They must not make two tasks similar if only words are compared."""

Ranked = list[tuple[Title, float]]


class TaskSimilarity:
    """Ranks episodes by their tasks. Blocks, but never waits for an embedder or for Chroma to open.

    Both are opened `delay` seconds after `warm`, for runs that may have ended by then.
    """

    def __init__(
        self, open_embedder: Callable[[], Embedder], open_collection: OpenCollection, delay: float = 0.0
    ) -> None:
        self._open_embedder = open_embedder
        self._open_collection = open_collection
        self.delay = delay
        self._closing = Event()
        self._words = HashEmbedder()
        self._warming: Thread | None = None
        self._ready: tuple[Embedder, VectorCollection] | None = None

    def warm(self) -> Thread:
        """Open the embedder and Chroma in the background. The next call retries what failed."""
        if self._warming is None or not (self._ready or self._warming.is_alive()):
            self._warming = Thread(target=self._open, name="task-similarity", daemon=True)
            self._warming.start()
        return self._warming

    def close(self) -> None:
        """Stop opening. Does not wait for a model that is being downloaded."""
        self._closing.set()
        if self._warming is not None:
            self._warming.join(CLOSING_SECONDS)

    def _open(self) -> None:
        if self._closing.wait(self.delay):
            return
        with suppress(EmbeddingError, VectorsUnavailable):
            embedder = self._open_embedder()
            name = collection_name("episodes", embedder.key, COMPARISON_VERSION)
            self._ready = embedder, self._open_collection(name, embedder.dimension)

    def similar(self, task: str, titles: Sequence[Title], here: Collection[str]) -> Ranked:
        """Rank the episodes that are similar enough, best first. `here` are the ids of this repository's."""
        provider, ranked = self._ranked(task, titles, len(titles))
        # The threshold belongs to the provider that ranked, which is "hash" if Chroma has failed.
        least = THRESHOLDS[provider]
        return [pair for pair in ranked if pair[1] >= least + (0 if pair[0].id in here else ELSEWHERE)]

    def ranked(self, task: str, titles: Sequence[Title]) -> Ranked:
        """Rank the nearest episodes, best first, however far they are."""
        return self._ranked(task, titles, NEAREST)[1]

    def align(self, titles: Sequence[Title]) -> bool:
        """Make Chroma hold a vector for each episode and no other. Return False if it is unavailable."""
        if ready := self._ready:
            try:
                _align(*ready, titles)
            except (EmbeddingError, VectorsUnavailable):
                self._ready = None
        return self._ready is not None

    def _ranked(self, task: str, titles: Sequence[Title], count: int) -> tuple[str, Ranked]:
        ready = self._ready
        if ready and titles:
            try:
                return ready[0].key.partition("-")[0], _by_vectors(*ready, task, titles, count)
            except (EmbeddingError, VectorsUnavailable):
                self._ready = None
        return "hash", self._by_words(task, titles, count)

    def _by_words(self, task: str, titles: Sequence[Title], count: int) -> Ranked:
        texts = (task, *(title.task for title in titles))
        vectors = self._words.embed([_compared(text, self._words) for text in texts])
        similarity = vectors[1:] @ vectors[0]
        best = np.argsort(-similarity, kind="stable")[:count]
        return [(titles[n], float(similarity[n])) for n in best]


def _by_vectors(
    embedder: Embedder, collection: VectorCollection, task: str, titles: Sequence[Title], count: int
) -> Ranked:
    _align(embedder, collection, titles)
    by_id = {title.id: title for title in titles}
    nearest = collection.query(embedder.embed([_compared(task, embedder)])[0], count)
    return [(by_id[id], similarity) for id, similarity in nearest if id in by_id]


def _align(embedder: Embedder, collection: VectorCollection, titles: Sequence[Title]) -> None:
    stored = collection.ids()
    if missing := [title for title in titles if title.id not in stored]:
        vectors = embedder.embed([_compared(title.task, embedder) for title in missing])
        collection.upsert([title.id for title in missing], vectors)
    if gone := stored - {title.id for title in titles}:
        collection.delete(gone)


def _compared(task: str, embedder: Embedder) -> str:
    """Return the text of a task that is compared."""
    beginning = task[:COMPARED_CHARACTERS]
    return _COMMON_WORDS.sub(" ", beginning) if embedder.key.startswith("hash") else beginning
