"""Search an index: what a query names first, then the files that fit best."""

from memory.repo_index.search.code_search import CodeSearch
from memory.repo_index.search.query import Query, kind_of

__all__ = ["CodeSearch", "Query", "kind_of"]
