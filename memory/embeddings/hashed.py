"""Hashed words: vectors without a model, equal on every machine."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log

import numpy as np

from memory.chunks.words import words
from memory.embeddings.base import Vectors, unit

DIMENSION = 4096
_COMMON = {
    "a", "an", "and", "are", "as", "at", "be", "by", "def", "else", "false", "for", "from", "if",
    "import", "in", "is", "it", "none", "not", "null", "of", "on", "or", "return", "self", "str", "that",
    "the", "this", "to", "true", "with",
}  # fmt: skip


class HashEmbedder:
    """Counts words logarithmically. Its hash gives each word one of 4096 places and a sign."""

    key = f"hash-{DIMENSION}"
    dimension = DIMENSION

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row for each text. A text without words gets a row of zeros."""
        rows = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word, count in Counter(words(text)).items():
                if word not in _COMMON:
                    place, sign = _place(word)
                    row[place] += sign * (1 + log(count))
        return unit(rows)


@lru_cache(maxsize=1 << 16)
def _place(word: str) -> tuple[int, int]:
    # Python's own hash() differs from process to process.
    number = int.from_bytes(blake2b(_stem(word).encode(), digest_size=4).digest(), "big")
    return (number >> 1) % DIMENSION, 1 if number & 1 else -1


def _stem(word: str) -> str:
    """Remove the commonest English endings."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word
