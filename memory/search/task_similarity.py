"""How alike tasks are: cosine similarity of their vectors, kept in Chroma, or of their words without it."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from threading import Event, Thread

import numpy as np

from memory.embeddings import Embedder, EmbeddingError
from memory.embeddings.hashed import HashEmbedder
from memory.records.episodes import Title
from memory.repo_index import VectorCollection, VectorsUnavailable
from memory.repo_index.base import OpenCollection
from memory.vectors import collection_name

CHARACTERS = 2_000
"""How much of a task is compared: what it is about is said at its beginning."""
NEAREST = 50
CLOSING_SECONDS = 2.0
ESSENCE = "1"
"""Names how tasks are put for comparison; another way gets another collection."""

THRESHOLDS = {"openai": 0.45, "minilm": 0.45, "hash": 0.35}
"""By provider: what is less alike is not worth an agent's attention.

Of 15 pairs of tasks that help each other, MiniLM has 11 above it and hashed words 8; of pairs of unrelated
tasks (commit subjects of four projects), 1 in 500 and 1 in 300. OpenAI's is the usual one, not measured here.
"""
ELSEWHERE = 0.1
"""How much more alike a task in another repository must be."""

_DEEDS = re.compile(
    r"\b(?:add|allow|also|accept|bump|change|class|code|create|default|display|do|document|drop|enable|fix(?:es|ed)?"
    r"|files?|function|give|handle|implement|improve|instead|keep|let|make|method|move|new|option|please|print"
    r"|refactor|remove|rename|replace|return|set|should|show|so|support|tests?|too|type|update|used?|when|write)\b",
    re.IGNORECASE,
)
"""What tasks of all kinds say; it must not make two of them alike where words are all that is compared."""

Ranked = list[tuple[Title, float]]


class Likeness:
    """Ranks episodes by their tasks. Blocks, but never for an embedder or a Chroma that is not there yet.

    `delay` is how many seconds go by before either is opened, for runs that may be over by then.
    """

    def __init__(
        self, embedder: Callable[[], Embedder], collection: OpenCollection, delay: float = 0.0
    ) -> None:
        self._open_embedder = embedder
        self._open_collection = collection
        self._delay = delay
        self._closing = Event()
        self._words = HashEmbedder()
        self._warming: Thread | None = None
        self._ready: tuple[Embedder, VectorCollection] | None = None

    @property
    def prompt(self) -> bool:
        """Whether what is opened is worth a short wait."""
        return not self._delay

    def warm(self) -> Thread:
        """Open embedder and Chroma in the background; what fails there is tried again next time."""
        if self._warming is None or not (self._ready or self._warming.is_alive()):
            self._warming = Thread(target=self._open, name="likeness", daemon=True)
            self._warming.start()
        return self._warming

    def close(self) -> None:
        """Open nothing any more; a model that is being downloaded is not waited for."""
        self._closing.set()
        if self._warming is not None:
            self._warming.join(CLOSING_SECONDS)

    def _open(self) -> None:
        if self._closing.wait(self._delay):
            return
        with suppress(EmbeddingError, VectorsUnavailable):
            embedder = self._open_embedder()
            name = collection_name("episodes", embedder.key, ESSENCE)
            self._ready = embedder, self._open_collection(name, embedder.dimension)

    def alike(self, task: str, titles: Sequence[Title], near: Collection[str]) -> Ranked:
        """Rank the episodes that are alike enough to matter, best first; `near` are this repository's ids."""
        provider, ranked = self._ranked(task, titles, len(titles))
        least = THRESHOLDS[provider]
        return [one for one in ranked if one[1] >= least + (0 if one[0].id in near else ELSEWHERE)]

    def ranked(self, task: str, titles: Sequence[Title]) -> Ranked:
        """Rank the nearest episodes, best first, however far they are."""
        return self._ranked(task, titles, NEAREST)[1]

    def keep(self, titles: Sequence[Title]) -> bool:
        """Bring Chroma up to these episodes, if it is there: else the next search does that."""
        if ready := self._ready:
            try:
                self._aligned(*ready, titles)
            except (EmbeddingError, VectorsUnavailable):
                self._ready = None
        return self._ready is not None

    def _ranked(self, task: str, titles: Sequence[Title], count: int) -> tuple[str, Ranked]:
        ready = self._ready
        if ready and titles:
            try:
                return ready[0].key.partition("-")[0], self._by_vectors(*ready, task, titles, count)
            except (EmbeddingError, VectorsUnavailable):
                self._ready = None  # words are compared instead
        return "hash", self._by_words(task, titles, count)

    def _by_vectors(
        self,
        embedder: Embedder,
        collection: VectorCollection,
        task: str,
        titles: Sequence[Title],
        count: int,
    ) -> Ranked:
        self._aligned(embedder, collection, titles)
        by_id = {title.id: title for title in titles}
        nearest = collection.query(embedder.embed([_essence(task, embedder)])[0], count)
        return [(by_id[id], similarity) for id, similarity in nearest if id in by_id]

    def _aligned(self, embedder: Embedder, collection: VectorCollection, titles: Sequence[Title]) -> None:
        """Let the collection hold a vector for each row, and no other."""
        kept = collection.ids()
        if missing := [title for title in titles if title.id not in kept]:
            vectors = embedder.embed([_essence(title.task, embedder) for title in missing])
            collection.upsert([title.id for title in missing], vectors)
        if gone := kept - {title.id for title in titles}:
            collection.delete(gone)

    def _by_words(self, task: str, titles: Sequence[Title], count: int) -> Ranked:
        if not titles:
            return []
        texts = (task, *(title.task for title in titles))
        vectors = self._words.embed([_essence(text, self._words) for text in texts])
        similarity = vectors[1:] @ vectors[0]
        best = np.argsort(-similarity, kind="stable")[:count]
        return [(titles[n], float(similarity[n])) for n in best]


def _essence(task: str, embedder: Embedder) -> str:
    """What of a task is compared."""
    beginning = task[:CHARACTERS]
    return _DEEDS.sub(" ", beginning) if embedder.key.startswith("hash") else beginning
