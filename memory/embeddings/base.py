"""The Protocol of an embedder, with its settings and its error."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

EmbedderKind = Literal["auto", "openai", "minilm", "hash"]
Vectors = NDArray[np.float32]


class EmbeddingError(Exception):
    """Texts could not be embedded. The message says what failed and what to do."""


@dataclass(frozen=True)
class EmbeddingSettings:
    """The wanted embedder and what it needs.

    `hosted` says that all models of the run are OpenAI's, so that `auto` may send code there.
    """

    kind: EmbedderKind = "auto"
    model_dir: Path | None = None
    openai_key: str | None = field(default=None, repr=False)
    openai_url: str | None = None
    hosted: bool = False


class Embedder(Protocol):
    """Embeds texts. Blocks. `key` names provider, model and dimension."""

    key: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row of length 1 for each text. Raises EmbeddingError."""
        ...


def unit(rows: Vectors) -> Vectors:
    """Scale each row to length 1. A row of zeros stays."""
    scaled: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return scaled
