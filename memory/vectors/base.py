"""How collections are named, and the one error of everything that keeps vectors."""

import re
from hashlib import sha256

MAX_NAME = 100
"""Characters of a name; Chroma takes 3 to 512 of [a-zA-Z0-9._-], the first and last alphanumeric."""


class VectorsUnavailable(Exception):
    """Vectors cannot be had now; the message says why. Full text goes on without them."""


def collection_name(*parts: str) -> str:
    """Join what tells collections apart (what it holds, model and dimension, chunker) to a name for Chroma.

    Different parts give different names, also where characters had to be replaced or cut off.
    """
    plain = "_".join(parts)
    name = re.sub(r"[^a-zA-Z0-9._-]", "-", plain).strip("._-")
    if name == plain and 3 <= len(name) <= MAX_NAME:
        return name
    mark = sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"{name[: MAX_NAME - 17]}-{mark}".lstrip("._-")
