"""The graph as langgraph.json exports it: for Studio and whatever else brings its own checkpointer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from graph.builder import Graph, build
from graph.component_settings import open_journal
from graph.resources import open_resources
from graph.settings import Settings


@asynccontextmanager
async def graph() -> AsyncIterator[Graph]:
    """Yield the compiled graph with resources of its own; LangGraph's server opens it for each use."""
    settings = await asyncio.to_thread(Settings.load)
    journal = await open_journal(settings)
    try:
        async with open_resources(settings, journal, lambda line: None) as resources:
            yield build(resources)
    finally:
        await journal.aclose()
