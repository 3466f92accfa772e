"""Rank files for a query by several signals, each between 0 and 1, and cut what is not about it.

`bench/retrieval.py --ablate` prints what each signal is worth.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log

from memory.repo_index.index_store import StoredChunk
from memory.repo_index.search.hits import Hits
from memory.repo_index.search.query import FileKind, Query, kind_of

FILES = 50
"""Files of each ranking that are considered."""
WEIGHTS = {"chunks": 0.35, "vectors": 0.25, "file": 0.05, "coverage": 0.15, "names": 0.2}
"""Weights of the signals, fitted on the development repositories of `bench/retrieval.py`."""
_KINDS: dict[FileKind, float] = {"code": 1.0, "test": 0.5, "docs": 0.5, "changelog": 0.3}
"""Factors of kinds of files that a query does not ask for."""
_CODE_UNASKED = 0.8
"""Factor of code if the query asks for tests or documents."""
_COVERED = 0.3
"""Share of a query's words, the rare ones counted more, that one file must have if no chunk is similar."""
_RELATIVE = 0.35
"""Share of the best score below which a file is noise."""
_LENGTH = 60_000
"""Characters of a file that are searched."""
_K1, _B = 1.5, 0.75
"""The constants of BM25."""


@dataclass
class FileRanking:
    """Ranks the files of both searches. `chunks` are all chunks of these files.

    `counts` says how many of the `total` chunks hold a word.
    """

    query: Query
    text: Hits
    near: Hits
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
        return {path: self._score(path, weights) for path in {chunk.path for chunk in self.chunks}}

    def fitting(self, scores: Mapping[str, float]) -> list[str]:
        """Return the files that are about the query, best first, none if no file is."""
        similarity = max((score for _, score in self.near_best.values()), default=0.0)
        covered = max(self.signals["coverage"].values(), default=0.0)
        if covered < _COVERED and similarity < self.near.enough:
            return []
        least = _RELATIVE * max(scores.values(), default=0.0)
        return sorted(
            (path for path in scores if scores[path] > least), key=lambda path: (-scores[path], path)
        )

    def _score(self, path: str, weights: Mapping[str, float]) -> float:
        kind, asked = kind_of(path), self.query.asked
        factor = 1.0 if kind in asked else _CODE_UNASKED if asked and kind == "code" else _KINDS[kind]
        return factor * sum(weight * self.signals[name].get(path, 0.0) for name, weight in weights.items())

    @cached_property
    def signals(self) -> dict[str, dict[str, float]]:
        """Return each signal by file."""
        chunks, vectors = _shares(self.text.totals()), _shares(self.near.totals())
        for path in self.unembedded:
            # A file that was just saved has no vectors. Otherwise it would come last.
            vectors.setdefault(path, chunks.get(path, 0.0))
        file, coverage, names = self._of_files()
        return {"chunks": chunks, "vectors": vectors, "file": file, "coverage": coverage, "names": names}

    def _of_files(self) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """Return BM25 over whole files, the share of the query that a file has, and the names in it."""
        texts = defaultdict[str, list[str]](list)
        for chunk in self.chunks:
            texts[chunk.path].append(chunk.chunk.text)
        whole = {path: f"{path}\n" + "\n".join(parts)[:_LENGTH] for path, parts in texts.items()}
        mean = sum(map(len, whole.values())) / max(len(whole), 1)
        rarity = {word: self._rarity(word) for word in self.query.terms}
        stems = {word: _stem(word) for word in self.query.terms}
        named = [name.rpartition(".")[2] for name in (*self.query.names, *self.query.capitalised)]
        file, coverage, names = dict[str, float](), dict[str, float](), dict[str, float]()
        for path, original in whole.items():
            text, bm25, present = original.lower(), 0.0, 0.0
            norm = _K1 * (1 - _B + _B * len(text) / mean)
            for word, stem in stems.items():
                # Identifiers are one word in lower case, so a part of a word counts as well.
                if count := text.count(stem):
                    bm25 += rarity[word] * count * (_K1 + 1) / (count + norm)
                    present += rarity[word]
            file[path], coverage[path] = bm25, present / (sum(rarity.values()) or 1.0)
            names[path] = sum(name in original for name in named) / max(len(named), 1)
        return _shares(file), coverage, names

    def _rarity(self, word: str) -> float:
        count = self.counts.get(word, 0)
        return log(1 + (self.total - count + 0.5) / (count + 0.5))


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    """Scale values so that the best is 1."""
    best = max(values.values(), default=0.0)
    return {path: value / best for path, value in values.items() if value > 0}


def _stem(word: str) -> str:
    return re.sub(r"(?<=\w{4})(ing|ed|es|s)$", "", word)
