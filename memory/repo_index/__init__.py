"""A repository's index: full text and vectors over chunks of its files, kept up to date with the disk."""

from memory.repo_index.index import RepoIndex
from memory.repo_index.index_types import (
    Changes,
    IndexSettings,
    IndexStatus,
    OpenCollection,
    RepoIndexError,
    SnapshotView,
    Snippet,
)
from memory.repo_index.retrieve import retrieve

__all__ = [
    "Changes",
    "IndexSettings",
    "IndexStatus",
    "OpenCollection",
    "RepoIndex",
    "RepoIndexError",
    "SnapshotView",
    "Snippet",
    "retrieve",
]
