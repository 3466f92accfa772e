"""Validation of what comes from outside: readable messages for faults, and text that is valid Unicode."""

from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import BaseModel, model_validator


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


class ForeignModel(BaseModel):
    """A model of data from clients. Half surrogate pairs in its texts, at any depth, are replaced first."""

    @model_validator(mode="before")
    @classmethod
    def _repair(cls, value: Any) -> Any:
        return _valid(value)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {_valid(key): _valid(inner) for key, inner in value.items()}
    return [_valid(inner) for inner in value] if isinstance(value, list) else value
