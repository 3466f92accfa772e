"""Builds the graph of agents and runs tasks with it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph.task import Outcome, run_task

__all__ = ["Outcome", "run_task"]


def __getattr__(name: str) -> Any:
    """Import `graph.task` on first access, because LangGraph comes with it."""
    if name in __all__:
        from graph import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
