"""A thread's state on the wire: values as JSON with secrets masked, checkpoints, tasks and interrupts."""

from collections.abc import Callable, Mapping
from typing import Any

from langgraph.types import Overwrite, StateSnapshot
from pydantic_core import to_jsonable_python

from memory.secrets import masked

Plain = Callable[[Any], Any]
"""Makes JSON of state values."""


def plain_with(secrets: tuple[str, ...]) -> Plain:
    """Values as JSON, with every one of `secrets` replaced by ***."""

    def plain(value: Any) -> Any:
        return masked(to_jsonable_python(_bare(value), fallback=str), secrets)

    return plain


def _bare(value: Any) -> Any:
    """A reset of a reducer's key is shown as the value that it sets."""
    if isinstance(value, Mapping):
        return {key: _bare(one) for key, one in value.items()}
    return _bare(value.value) if isinstance(value, Overwrite) else value


def interrupts(snapshot: StateSnapshot, plain: Plain) -> dict[str, list[dict[str, Any]]]:
    """What each task waits for, by the task's id."""
    return {
        task.id: [{"id": one.id, "value": plain(one.value)} for one in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }


def thread_state(snapshot: StateSnapshot, plain: Plain) -> dict[str, Any]:
    """A snapshot as the SDKs' ThreadState."""
    asked = interrupts(snapshot, plain)
    here, parent = at(snapshot), _checkpoint(snapshot.parent_config)
    return {
        "values": plain(snapshot.values),
        "next": list(snapshot.next),
        "tasks": [
            {
                "id": task.id,
                "name": task.name,
                "path": plain(task.path),
                "error": plain(str(task.error)) if task.error else None,
                "interrupts": asked.get(task.id, []),
                "checkpoint": None,
                "state": None,
                "result": plain(task.result) if task.result else None,
            }
            for task in snapshot.tasks
        ],
        "metadata": plain(snapshot.metadata),
        "created_at": snapshot.created_at,
        "checkpoint": here,
        "parent_checkpoint": parent,
        "interrupts": [one for several in asked.values() for one in several],
        "checkpoint_id": here and here["checkpoint_id"],
        "parent_checkpoint_id": parent and parent["checkpoint_id"],
    }


def at(snapshot: StateSnapshot) -> dict[str, Any] | None:
    """Where a snapshot lies in the history; None for the state of a thread on which nothing has run."""
    return _checkpoint(snapshot.config)


def _checkpoint(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    found = (config or {}).get("configurable") or {}
    if not found.get("checkpoint_id"):
        return None
    return {name: found.get(name, "") for name in ("thread_id", "checkpoint_ns", "checkpoint_id")}
