"""Texts as vectors: OpenAI's model, MiniLM on this machine, or hashed words, which need nothing."""

from memory.embeddings.base import Embedder, EmbeddingError, EmbeddingSettings, Kind

__all__ = ["Embedder", "EmbeddingError", "EmbeddingSettings", "Kind"]
