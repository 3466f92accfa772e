"""Embed texts with OpenAI's model, with MiniLM on this machine, or as hashed words without a model."""

from memory.embeddings.base import Embedder, EmbedderKind, EmbeddingError, EmbeddingSettings
from memory.embeddings.choice import EmbeddingChoice, choose, open_embedder

__all__ = [
    "Embedder",
    "EmbedderKind",
    "EmbeddingChoice",
    "EmbeddingError",
    "EmbeddingSettings",
    "choose",
    "open_embedder",
]
