"""Exports of langgraph.json: the graph for LangGraph's server, and our routes beside its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from graph.builder import Graph, build
from graph.event_log import open_journal
from graph.resources import open_resources
from graph.run_request import repository_bounds
from graph.settings import Settings
from server.app import OWN, create_app
from tools.workspace.opening import bounded


@asynccontextmanager
async def graph() -> AsyncIterator[Graph]:
    """Yield the compiled graph with resources of its own. LangGraph's server opens it for each use.

    The repositories of its runs must be in AUTOCODE_REPOS too.
    """
    settings = await asyncio.to_thread(Settings.load)
    journal = await open_journal(settings)
    try:
        with bounded(await asyncio.to_thread(repository_bounds, settings)):
            async with open_resources(settings, journal, lambda line: None, shared=True) as resources:
                yield build(resources)  # without a checkpointer: LangGraph's server brings its own
    finally:
        await journal.aclose()


def __getattr__(name: str) -> Any:
    """Create `app` on first access, because importing reads no settings."""
    if name == "app":
        return create_app(Settings.load(), own=OWN)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
