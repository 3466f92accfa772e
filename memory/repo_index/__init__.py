"""A repository's index: full text and vectors over chunks of its files, kept up with the disk."""

from memory.repo_index.base import Changes, IndexSettings, RepoIndexError, Snippet, Status, View

__all__ = ["Changes", "IndexSettings", "RepoIndexError", "Snippet", "Status", "View"]
