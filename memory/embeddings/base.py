"""The seam between what is searched and how texts become vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Kind = Literal["auto", "openai", "minilm", "hash"]
Vectors = NDArray[np.float32]


class EmbeddingError(Exception):
    """Texts could not be embedded; the message says what failed and what to do."""


@dataclass(frozen=True)
class EmbeddingSettings:
    """Which embedder is wanted, and what it needs. `why` of the one that is opened says what was chosen.

    `hosted` tells that the run's own models are OpenAI's too, so that `auto` may send code there.
    `download` allows Chroma's downloader to fetch MiniLM when `minilm` was asked for by name.
    """

    kind: Kind = "auto"
    model_dir: Path | None = None
    openai_key: str | None = field(default=None, repr=False)
    openai_url: str | None = None
    hosted: bool = False
    download: bool = True


class Embedder(Protocol):
    """Turns texts into vectors, blocking; `key` names provider, model and dimension, `why` the choice."""

    key: str
    dimension: int
    why: str

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give one row a text, of length 1; raises EmbeddingError."""
        ...


def unit(rows: Vectors) -> Vectors:
    """Scale each row to length 1; a row of zeros stays."""
    scaled: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return scaled
