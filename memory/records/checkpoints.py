"""LangGraph's checkpoints, in the journal's database."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from memory.records.database import PRAGMAS, JournalError, explained, prepare, sqlite_path
from memory.secrets import spellings


class _Saver(AsyncSqliteSaver):
    """Checkpoint saver that finishes each write even if its caller is cancelled.

    A write cancelled between INSERT and COMMIT would lock the database for everybody.
    """

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.shield(super().aput(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.shield(super().aput_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.shield(super().adelete_thread(thread_id))


class _MaskingSerializer(JsonPlusSerializer):
    """Serializer that stores no secret. Its masks have the secrets' lengths, which the format counts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # None: loading a checkpoint imports and calls nothing outside LangGraph's own list of types.
        super().__init__(allowed_msgpack_modules=None)
        self._secrets = [form.encode("utf-8", "replace") for form in spellings(secrets)]

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        kind, data = super().dumps_typed(obj)
        for secret in self._secrets:
            data = data.replace(secret, b"*" * len(secret))
        return kind, data


@asynccontextmanager
async def open_checkpointer(url: str, secrets: Iterable[str] = ()) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """Open the saver for `sqlite:///PATH`. It restores only plain values and LangGraph's own types."""
    path = sqlite_path(url)
    if path is None:
        raise JournalError(
            f"checkpoints are kept in SQLite alone so far, not in {url.split(':')[0]}; unset DATABASE_URL"
        )
    await asyncio.to_thread(prepare, path)
    async with aiosqlite.connect(path) as connection:
        with explained(str(path)):
            for pragma in PRAGMAS:
                await connection.execute(f"PRAGMA {pragma}")
            saver = _Saver(connection, serde=_MaskingSerializer(secrets))
            await saver.setup()
        yield saver
