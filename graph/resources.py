"""From settings to the process-wide things nodes act with: models at once, the sandbox when first needed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from graph.builder import Resources
from graph.settings import AGENTS, Settings
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
        async with open_models(model_settings(settings), journal.completions, journal) as models:
            yield Resources(models, sandbox, journal)
    finally:
        for one in opened:
            await one.aclose()


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
