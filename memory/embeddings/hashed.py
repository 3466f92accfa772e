"""Hashed words: a vector without a model, the same on every machine."""

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
    """Counts words, sublinearly, each in one of 4096 places with a sign that its hash decides."""

    key = f"hash-{DIMENSION}"
    dimension = DIMENSION

    def __init__(self, why: str = "asked for") -> None:
        self.why = why

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give one row a text; one without words gets a row of zeros."""
        rows = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word, count in Counter(words(text)).items():
                if word not in _COMMON:
                    place, sign = _place(word)
                    row[place] += sign * (1 + log(count))
        return unit(rows)


@lru_cache(maxsize=1 << 16)
def _place(word: str) -> tuple[int, int]:
    number = int.from_bytes(blake2b(_stem(word).encode(), digest_size=4).digest(), "big")
    return (number >> 1) % DIMENSION, 1 if number & 1 else -1


def _stem(word: str) -> str:
    """Take the commonest English endings off."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word
