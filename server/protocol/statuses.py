"""Our statuses as the protocol's, and back."""

RUN: dict[str, str] = {
    "queued": "pending",
    "running": "running",
    "verified": "success",
    "unverified": "success",
    "budget": "timeout",
    "waiting": "interrupted",
    "cancelled": "interrupted",
    "failed": "error",
}
THREAD: dict[str, str] = {
    "new": "idle",
    "queued": "busy",
    "running": "busy",
    "verified": "idle",
    "unverified": "idle",
    "budget": "idle",
    "cancelled": "idle",
    "waiting": "interrupted",
    "failed": "error",
}


def ours(status: str, table: dict[str, str]) -> tuple[str, ...]:
    """The statuses of ours that one of the protocol's stands for."""
    return tuple(own for own, theirs in table.items() if theirs == status)
