"""Labels of threads: JSON of which clients name a part."""

from collections.abc import Mapping
from typing import Any


def contains(value: Any, part: Any) -> bool:
    """Return whether a JSON value contains another, as PostgreSQL's `@>` does: objects and arrays in part."""
    if isinstance(part, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and contains(value[key], below) for key, below in part.items()
        )
    if isinstance(part, list):
        return isinstance(value, list) and all(any(contains(own, below) for own in value) for below in part)
    return isinstance(value, bool) == isinstance(part, bool) and bool(value == part)
