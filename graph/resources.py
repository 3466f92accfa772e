"""From settings to the process-wide things nodes act with: models at once, the sandbox when first needed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from graph.builder import Resources
from graph.settings import AGENTS, Settings
from memory.embeddings import EmbeddingSettings, choose, open_embedder
from memory.journal import Journal
from memory.likeness import Likeness
from memory.live import Indexes
from memory.recollection import Recollection
from memory.repo_index import IndexSettings
from nodes.llm import ModelSettings, open_models
from sandbox.backends import open_sandbox
from sandbox.base import Sandbox

VECTORS_AFTER_SECONDS = 3.0
"""Seconds after which vectors of hashed words are made: for a short run Chroma's import would not pay."""


@asynccontextmanager
async def open_resources(
    settings: Settings, journal: Journal, say: Callable[[str], None]
) -> AsyncIterator[Resources]:
    """Yield the resources; whatever sandbox was opened is closed at the end."""
    lock, opened = asyncio.Lock(), list[Sandbox]()

    async def sandbox() -> Sandbox:
        async with lock:
            if not opened:
                backend, image = settings.sandbox_backend, settings.sandbox_image
                opened.append(await open_sandbox(backend, settings.home, image, say))
            return opened[0]

    try:
        async with (
            open_models(model_settings(settings), journal.completions, journal) as models,
            open_memory(settings, journal, say) as memory,
        ):
            yield Resources(models, sandbox, journal, memory)
    finally:
        for one in opened:
            await one.aclose()


@asynccontextmanager
async def open_memory(
    settings: Settings, journal: Journal, say: Callable[[str], None], delay: float = VECTORS_AFTER_SECONDS
) -> AsyncIterator[Recollection | None]:
    """Yield what runs remember and recall, None where it is switched off; nothing is waited for."""
    if not settings.enable_memory:
        yield None
        return
    wanted = index_settings(settings)
    choice = await asyncio.to_thread(choose, wanted.embeddings)
    patience = delay if choice.kind == "hash" else 0.0
    indexes = Indexes.open(wanted, say, patience)
    likeness = Likeness(lambda: open_embedder(wanted.embeddings), indexes.shelf.collection, patience)
    try:
        yield Recollection(journal.episodes, indexes, likeness, settings.memory_scope)
    finally:
        await asyncio.to_thread(likeness.close)
        await asyncio.to_thread(indexes.close)


def model_settings(settings: Settings) -> ModelSettings:
    """What the models need of the settings."""
    keys = {"OPENAI_API_KEY": settings.openai_api_key, "DEEPSEEK_API_KEY": settings.deepseek_api_key}
    named: set[str] = {agent for agent in AGENTS if f"{agent}_model" in settings.model_fields_set}
    if "default_model" in settings.model_fields_set:
        named.add("default")
    return ModelSettings(
        mode=settings.llm_mode,
        model=settings.llm_model,
        agents={agent: getattr(settings, f"{agent}_model") for agent in AGENTS},
        default_model=settings.default_model,
        explicit=frozenset(named),
        keys={name: key.get_secret_value() for name, key in keys.items() if key},
        secrets=tuple(settings.secrets()),
        local_url=settings.local_llm_url,
        local_model=settings.local_model,
        record=settings.llm_record,
        cassette=settings.llm_cassette,
        replay_pieces_per_second=settings.llm_replay_pace,
        timeout=settings.llm_timeout,
        max_retries=settings.llm_max_retries,
        max_output_tokens=settings.llm_max_output_tokens,
    )


def index_settings(settings: Settings) -> IndexSettings:
    """What the repositories' indexes need of the settings."""
    key, folder = settings.openai_api_key, settings.repo_index_path
    return IndexSettings(
        folder=folder.expanduser().absolute() if folder else settings.home / "index",
        chroma=settings.home / "chroma",
        embeddings=EmbeddingSettings(
            kind=settings.embeddings,
            model_dir=settings.embeddings_model_dir and settings.embeddings_model_dir.expanduser(),
            openai_key=key.get_secret_value() if key else None,
            hosted=model_settings(settings).only_openai,
        ),
        chroma_host=settings.chroma_host,
        chroma_port=settings.chroma_port,
    )
