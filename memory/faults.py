"""Faults that pydantic finds in a value, as text for people and models."""

from pydantic import ValidationError


def faults(error: ValidationError) -> list[str]:
    """Return one `path.to.field: message` for each fault."""
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
