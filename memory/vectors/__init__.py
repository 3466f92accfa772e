"""Vectors by id in Chroma: embedded, with one owner process, or on a server. All of it can be rebuilt."""

from memory.vectors.base import VectorsUnavailable, collection_name
from memory.vectors.client import load
from memory.vectors.collection import Collection
from memory.vectors.store import Vectors
from memory.vectors.vector_pool import Shelf

__all__ = ["Collection", "Shelf", "Vectors", "VectorsUnavailable", "collection_name", "load"]
