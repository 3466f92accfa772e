"""LangGraph's checkpoints, in the same database as the journal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from memory.database import PRAGMAS, JournalError, explained, prepare, sqlite_path


@asynccontextmanager
async def open_checkpointer(url: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """Open the saver for `sqlite:///PATH`; only plain values and LangGraph's own types are read back."""
    path = sqlite_path(url)
    if path is None:
        raise JournalError(f"checkpoints are kept in SQLite alone so far, not in {url.split(':')[0]}")
    await asyncio.to_thread(prepare, path)
    async with aiosqlite.connect(path) as connection:
        with explained(str(path)):
            for pragma in PRAGMAS:
                await connection.execute(f"PRAGMA {pragma}")
            saver = AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
            await saver.setup()
        yield saver
