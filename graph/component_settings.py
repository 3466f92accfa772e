"""What journal, models and indexes need of the settings; importing this brings no LangGraph."""

from graph.settings import AGENTS, Settings
from memory.embeddings import EmbeddingSettings
from memory.records.journal import Journal
from memory.repo_index import IndexSettings
from nodes.events import EVENT, Event
from nodes.llm.model_settings import ModelSettings


async def open_journal(settings: Settings) -> Journal[Event]:
    """Open the journal of the settings' database."""
    return await Journal.open(settings.database, EVENT.validate_python, settings.secrets())


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
