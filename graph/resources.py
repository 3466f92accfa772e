"""From settings to the process-wide things nodes act with: models at once, the sandbox when first needed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from graph.builder import Resources
from graph.settings import Settings
from memory.journal import Journal
from nodes.llm import ModelSettings, open_models
from sandbox.backends import open_sandbox
from sandbox.base import Sandbox


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
        yield Resources(open_models(model_settings(settings), journal), sandbox, journal)
    finally:
        for one in opened:
            await one.aclose()


def model_settings(settings: Settings) -> ModelSettings:
    """What the models need of the settings."""
    raise NotImplementedError
