"""Vectors in Chroma, embedded or on a server. SQLite holds all that is needed to rebuild them."""

from memory.vectors.client import VectorsUnavailable, load
from memory.vectors.collection import Collection, collection_name
from memory.vectors.vector_store import VectorStore

__all__ = ["Collection", "VectorStore", "VectorsUnavailable", "collection_name", "load"]
