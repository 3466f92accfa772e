"""From settings to the process-wide things nodes act with: models at once, the sandbox when first needed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from graph.builder import Resources
from graph.component_settings import index_settings, model_settings
from graph.settings import Settings
from memory.embeddings import choose, open_embedder
from memory.live import LiveIndexes
from memory.records.episodes import Episodes
from memory.records.journal import Journal
from memory.records.owner import Owner, this_process
from memory.search.recollection import Recollection
from memory.search.task_similarity import TaskSimilarity
from nodes.events import Event
from nodes.llm.models import open_models
from sandbox.backends import open_sandbox
from sandbox.base import Ownership, Sandbox

VECTORS_AFTER_SECONDS = 3.0
"""Seconds after which vectors of hashed words are made: for a short run Chroma's import would not pay."""


@asynccontextmanager
async def open_resources(
    settings: Settings, journal: Journal[Event], say: Callable[[str], None]
) -> AsyncIterator[Resources]:
    """Yield the resources; whatever sandbox was opened is closed at the end."""
    lock, opened = asyncio.Lock(), list[Sandbox]()

    async def sandbox() -> Sandbox:
        async with lock:
            if not opened:
                backend, image = settings.sandbox_backend, settings.sandbox_image
                opened.append(await open_sandbox(backend, settings.home, image, say, ownership()))
            return opened[0]

    try:
        async with (
            open_models(model_settings(settings), journal.completions, journal.notes) as models,
            open_memory(settings, journal.episodes, say) as memory,
        ):
            yield Resources(models, sandbox, journal.checks, memory)
    finally:
        for one in opened:
            await one.aclose()


def ownership() -> Ownership:
    """Mark what this process creates in the sandbox, so that later processes remove it if this one dies."""

    def has_died(label: str) -> bool:
        owner = Owner.parse(label)
        return owner is not None and owner.died()

    return Ownership(str(this_process()), has_died)


@asynccontextmanager
async def open_memory(
    settings: Settings, episodes: Episodes, say: Callable[[str], None], delay: float = VECTORS_AFTER_SECONDS
) -> AsyncIterator[Recollection | None]:
    """Yield what runs remember and recall, None where it is switched off; nothing is waited for."""
    if not settings.enable_memory:
        yield None
        return
    wanted = index_settings(settings)
    choice = await asyncio.to_thread(choose, wanted.embeddings)
    patience = delay if choice.kind == "hash" else 0.0
    indexes = LiveIndexes(wanted, say, patience)
    open_collection = indexes.vectors.collection
    similarity = TaskSimilarity(lambda: open_embedder(wanted.embeddings), open_collection, patience)
    memory = Recollection(episodes, indexes, similarity, settings.memory_scope)
    try:
        yield memory
    finally:
        await asyncio.to_thread(similarity.close)
        await asyncio.to_thread(indexes.close)
