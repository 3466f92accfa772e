"""Split text into words for search, and identifiers into the words that they are made of."""

import re
from functools import lru_cache

_WORD = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNCASED = re.compile(r"[^\W\d_]+|\d+")
_LONGEST = 40


@lru_cache(maxsize=1 << 16)
def parts_of(identifier: str) -> tuple[str, ...]:
    """Split `getHTTPResponse_2` into get, http, response, 2."""
    # Letter case says nothing in scripts without it.
    pattern = _PART if identifier.isascii() else _UNCASED
    return tuple(part.lower() for part in pattern.findall(identifier))


def words(text: str) -> list[str]:
    """List a text's words in lower case, with identifiers split."""
    return [
        part
        for word in _WORD.findall(text)
        for part in (parts_of(word) if len(word) <= _LONGEST else (word[:_LONGEST].lower(),))
    ]
