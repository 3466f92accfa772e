"""The application as langgraph.json mounts it: LangGraph's server serves our routes beside its own."""

from typing import Any

from graph.settings import Settings
from server.app import OWN, create_app


def __getattr__(name: str) -> Any:
    """Make `app` when it is asked for: importing reads no settings."""
    if name == "app":
        return create_app(Settings.load(), own=OWN)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
