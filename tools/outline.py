"""A map of a repository: its paths, cut to a token limit."""

from collections.abc import Callable, Mapping


def repository_map(
    files: Mapping[str, int], read: Callable[[str], str | None], query: str, token_limit: int
) -> str:
    """Paths, one a line, within `token_limit` tokens of four characters."""
    return "\n".join(files)[: token_limit * 4].rpartition("\n")[0] if len(files) > 1 else "".join(files)
