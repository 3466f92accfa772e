"""The database that everything durable shares: SQLite in WAL mode, or PostgreSQL; one writer at a time."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Table, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from memory.tables import metadata

P = ParamSpec("P")
T = TypeVar("T")

PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL")
"""How each connection to SQLite is set up; the time-out (in ms) first, as the next may have to wait."""


class JournalError(Exception):
    """The database cannot be used; the message says where it is and what to do."""


def sqlite_path(url: str) -> Path | None:
    """The file that a `sqlite:///PATH` names; None for another kind of database."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def prepare(path: Path) -> None:
    """Create the database's folder (0700) and file (0600) where they are missing."""
    with explained(str(path)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what a driver raises into a JournalError that a person can act on."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, OSError) as error:
        cause = str(getattr(error, "orig", None) or error)
        raise JournalError(f"the database {where} failed: {cause}; {_advice(cause)}") from error


def _advice(cause: str) -> str:
    text = cause.lower()
    if "not a database" in text or "malformed" in text:
        return "it is damaged: move it aside with its -wal and -shm files, or put a copy back"
    if "readonly" in text or "read-only" in text or "permission" in text:
        return "make it writable, or set AUTOCODE_HOME to a folder that is"
    if ("disk" in text and "full" in text) or "no space" in text:
        return "free some disk space, then resume"
    if "locked" in text:
        return "another program holds it: end that program, then resume"
    return "check AUTOCODE_HOME and DATABASE_URL"


def whole(method: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a method's transaction end before a cancellation goes on: a broken one leaves the file locked."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.ensure_future(method(*args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.gather(task, return_exceptions=True)
            raise

    return call


class Database:
    """One connection, used in turn: transactions of a process queue here, those of processes in SQLite."""

    def __init__(self, engine: AsyncEngine, where: str) -> None:
        self._writing = engine
        self._reading = engine.execution_options(reads=True)
        self.where = where

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Connect to `sqlite:///PATH` or `postgresql://…`, and create what is missing."""
        path = sqlite_path(url)
        if path:
            await asyncio.to_thread(prepare, path)
            engine = create_async_engine(
                URL.create("sqlite+aiosqlite", database=str(path)), pool_size=1, max_overflow=0
            )
            _speak_sqlite(engine)
        else:
            address = make_url(url)
            try:
                engine = create_async_engine(address.set(drivername="postgresql+psycopg"))
            except ImportError as error:
                raise JournalError(f"{address!r} needs a driver: pip install 'psycopg[binary]'") from error
        database = cls(engine, str(path or engine.url))
        try:
            async with database.write() as connection:
                await connection.run_sync(metadata.create_all)
        except BaseException:
            await engine.dispose()
            raise
        return database

    async def aclose(self) -> None:
        """Close the connection."""
        await self._writing.dispose()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that others' writes neither interleave with nor follow half."""
        with explained(self.where):
            async with self._writing.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view that waits for no writer."""
        with explained(self.where):
            async with self._reading.connect() as connection:
                yield connection

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT, which both dialects spell alike but SQLAlchemy keeps apart."""
        return (sqlite if self._writing.dialect.name == "sqlite" else postgresql).insert(table)


def _speak_sqlite(engine: AsyncEngine) -> None:
    """Take BEGIN out of the driver's hands: a read that turns into a write would fail, not wait."""

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
