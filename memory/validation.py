"""Readable messages for what pydantic refuses."""

from pydantic import ValidationError


def faults_of(error: ValidationError) -> list[str]:
    """Return one `path.to.field: message` for each fault."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return [": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"]))) for fault in faults]
