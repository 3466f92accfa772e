"""A repository's index: full text and vectors over chunks of its files, kept up with the disk."""

from memory.repo_index.base import (
    Changes,
    IndexSettings,
    RepoIndexError,
    Snippet,
    Status,
    VectorCollection,
    VectorsUnavailable,
    View,
)
from memory.repo_index.index import RepoIndex
from memory.repo_index.retrieve import retrieve

__all__ = [
    "Changes",
    "IndexSettings",
    "RepoIndex",
    "RepoIndexError",
    "Snippet",
    "Status",
    "VectorCollection",
    "VectorsUnavailable",
    "View",
    "retrieve",
]
