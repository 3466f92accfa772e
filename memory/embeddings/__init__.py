"""Texts as vectors: OpenAI's model, MiniLM on this machine, or hashed words, which need nothing."""

from memory.embeddings.base import Embedder, EmbeddingError, EmbeddingSettings, Kind
from memory.embeddings.choice import EmbeddingChoice, choose, open_embedder

__all__ = [
    "Embedder",
    "EmbeddingChoice",
    "EmbeddingError",
    "EmbeddingSettings",
    "Kind",
    "choose",
    "open_embedder",
]
