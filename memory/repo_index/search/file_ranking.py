"""Rank files for a query by their words, their vectors and their history, and cut what is not about it.

`bench/retrieval.py` prints what each signal is worth. BM25 over whole files, words of the path, names in it,
its size, its imports, more of its chunks, prefixes of words and a second search for words of the first hits
were measured too. Beside both, none found more files among the first five in other repositories as well.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log

from memory.repo_index.index_store import StoredChunk
from memory.repo_index.search.hits import Hits
from memory.repo_index.search.query import FileKind, Query, kind_of, stem

FILES = 50
"""Files of each search that are considered."""
WEIGHTS = {"words": 0.4, "vectors": 0.4, "history": 0.2}
"""Weights of the signals, fitted on the development repositories of `bench/retrieval.py`."""
_KINDS: dict[FileKind, float] = {"code": 1.0, "test": 0.5, "docs": 0.5, "changelog": 0.3}
"""Factors of kinds of files that a query does not ask for."""
_CODE_UNASKED = 0.8
"""Factor of code if the query asks for tests or documents."""
_COVERED = 0.35
"""Share of a query's words, rare ones counted more, that one file must have unless a chunk is similar."""
_RELATIVE = 0.25
"""Share of the best score below which a file is noise."""
_LENGTH = 60_000
"""Characters of a file in which words are looked for."""


@dataclass
class FileRanking:
    """Ranks the files of both searches. `chunks` are all chunks of these files.

    `past` are scores of files by their history. `counts` says how many of the `total` chunks hold a word.
    """

    query: Query
    text: Hits
    near: Hits
    past: Mapping[str, float]
    unembedded: Collection[str]
    chunks: Sequence[StoredChunk]
    counts: Mapping[str, int]
    total: int

    @cached_property
    def text_best(self) -> dict[str, tuple[StoredChunk, float]]:
        """The best chunk of each file by words."""
        return self.text.best()

    @cached_property
    def near_best(self) -> dict[str, tuple[StoredChunk, float]]:
        """The best chunk of each file by vectors."""
        return self.near.best()

    def scores(self, weights: Mapping[str, float] = WEIGHTS) -> dict[str, float]:
        """Return the score of each file, between 0 and 1."""
        return {path: self._score(path, weights) for path in self._texts}

    def fitting(self, scores: Mapping[str, float]) -> list[str]:
        """Return the files that are about the query, best first, none if no file is."""
        similarity = max((score for _, score in self.near_best.values()), default=0.0)
        if similarity < self.near.enough and self._coverage() < _COVERED:
            return []
        least = _RELATIVE * max(scores.values(), default=0.0)
        return [path for path in self.ordered(scores) if scores[path] > least]

    def ordered(self, scores: Mapping[str, float]) -> list[str]:
        """Return all files, best first."""
        return sorted(scores, key=lambda path: (-scores[path], path))

    @cached_property
    def signals(self) -> dict[str, dict[str, float]]:
        """Each signal by file, between 0 and 1."""
        words, vectors = _shares(self.text.totals()), _shares(self.near.totals())
        for path in self.unembedded:
            # A file that was just saved has no vectors. Otherwise it would come last.
            vectors.setdefault(path, words.get(path, 0.0))
        return {"words": words, "vectors": vectors, "history": _shares(self.past)}

    def _score(self, path: str, weights: Mapping[str, float]) -> float:
        kind, asked = kind_of(path), self.query.asked
        factor = 1.0 if kind in asked else _CODE_UNASKED if asked and kind == "code" else _KINDS[kind]
        return factor * sum(weight * self.signals[name].get(path, 0.0) for name, weight in weights.items())

    @cached_property
    def _texts(self) -> dict[str, str]:
        """The beginning of each file with its path."""
        texts = defaultdict[str, list[str]](list)
        for chunk in self.chunks:
            texts[chunk.path].append(chunk.chunk.text)
        return {path: "\n".join([path, *parts])[:_LENGTH] for path, parts in texts.items()}

    def _coverage(self) -> float:
        """Return the largest share of the query's words that a file has."""
        rarity = {word: self._rarity(word) for word in self.query.spoken}
        # Identifiers are one word in lower case, so a part of a word counts as well.
        lower = [text.lower() for text in self._texts.values()]
        covered = (sum(rarity[word] for word in rarity if stem(word) in text) for text in lower)
        return max(covered, default=0.0) / (sum(rarity.values()) or 1.0)

    def _rarity(self, word: str) -> float:
        # A word of no chunk counts as much as one of 1 in 100, or it would outweigh all others.
        count = max(self.counts.get(word, 0), self.total / 100)
        return log(1 + (self.total - count + 0.5) / (count + 0.5))


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    """Scale values so that the best is 1."""
    best = max(values.values(), default=0.0)
    return {path: value / best for path, value in values.items() if value > 0}
