"""Readable messages for what pydantic refuses."""

from collections.abc import Sequence
from typing import Any, Protocol


class HasErrors(Protocol):
    """A ValidationError of pydantic, or FastAPI's RequestValidationError."""

    def errors(self) -> Sequence[Any]: ...


def faults_of(error: HasErrors) -> list[str]:
    """Return one `path.to.field: message` for each fault."""
    return [
        ": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"]))) for fault in error.errors()
    ]


def valid_text(text: str) -> str:
    """Join surrogate pairs, and replace halves without a partner. No file or database can store them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
