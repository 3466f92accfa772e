"""Statuses of runs and threads in the protocol's words."""

RUN_STATUSES: dict[str, str] = {
    "queued": "pending",
    "running": "running",
    "verified": "success",
    "unverified": "success",
    "budget": "timeout",  # the nearest of the protocol's words for a limit that was reached
    "waiting": "interrupted",
    "cancelled": "interrupted",
    "failed": "error",
}
THREAD_STATUSES: dict[str, str] = {
    "new": "idle",
    "queued": "busy",
    "running": "busy",
    "verified": "idle",
    "unverified": "idle",
    "budget": "idle",
    "cancelled": "idle",  # as in LangGraph, where a cancelled run leaves its thread free
    "waiting": "interrupted",
    "failed": "error",
}


def own_statuses(status: str, table: dict[str, str]) -> tuple[str, ...]:
    """Return our statuses that one of the protocol's stands for."""
    return tuple(own for own, theirs in table.items() if theirs == status)
