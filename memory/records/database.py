"""The database that everything durable shares: SQLite in WAL mode, or PostgreSQL; one writer at a time."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, inspect, make_url, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from memory.records.tables import SCHEMA, about, metadata

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Persistent")

PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL")
"""How each connection to SQLite is set up; the time-out (in ms) first, as the next may have to wait."""


class JournalError(Exception):
    """The database cannot be used; the message says where it is and what to do."""


def sqlite_path(url: str) -> Path | None:
    """The file that a `sqlite:///PATH` names; None for another kind of database."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def prepare(path: Path) -> None:
    """Create the database's folder (0700) and file (0600) where they are missing.

    A file that is there is not touched: closing it would drop the locks that SQLite holds in this process.
    """
    with explained(str(path)), suppress(FileExistsError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


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


class Database:
    """One connection in a thread of its own, where the process's transactions queue."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self.where = where

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Connect to `sqlite:///PATH` or `postgresql://…`, and create what is missing."""
        path = sqlite_path(url)
        engine = await asyncio.to_thread(_sqlite, path) if path else _postgresql(url)
        database = cls(engine, str(path or engine.url))
        try:
            await database.run(_create, writes=True)
        except BaseException:
            await database.aclose()
            raise
        return database

    async def aclose(self) -> None:
        """Finish what is queued and close the connection."""
        await asyncio.wrap_future(self._thread.submit(self._close))
        self._thread.shutdown(wait=False)

    async def run(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Run `work` as one transaction; once asked for, it is done even when the asker is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(self._run, work, writes)))

    def _run(self, work: Callable[[Connection], T], writes: bool) -> T:
        with explained(self.where):
            if self._connection is None:
                self._connection = self._engine.connect()
            self._connection.execution_options(writes=writes)
            with self._connection.begin():
                return work(self._connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT, which both dialects spell alike but SQLAlchemy keeps apart."""
        if self._engine.dialect.name == "sqlite":
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)


class Persistent(Protocol):
    """Whatever keeps its rows in a database."""

    _database: Database


def transaction(
    method: Callable[Concatenate[S, Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Make a method's body one transaction in the database's thread; callers await it without connection."""

    @wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.run(
            lambda connection: method(self, connection, *args, **kwargs), writes=True
        )

    return call


def view(
    method: Callable[Concatenate[S, Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Like `transaction`, for a body that only reads: it waits for no writer."""

    @wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.run(
            lambda connection: method(self, connection, *args, **kwargs), writes=False
        )

    return call


def _create(connection: Connection) -> None:
    """Create what is missing; first openers wait for each other: BEGIN IMMEDIATE does that in SQLite."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(0)))
    metadata.create_all(connection)
    number = connection.scalar(select(about.c.value).where(about.c.key == "schema"))
    if number is None or int(number) < SCHEMA:
        _widen(connection)
        connection.execute(about.delete().where(about.c.key == "schema"))
        connection.execute(about.insert().values(key="schema", value=str(SCHEMA)))
    elif int(number) > SCHEMA:
        raise JournalError(
            f"the database is a newer AutoCodeAI's (schema {number}; this one knows {SCHEMA}): "
            "install that one, or set AUTOCODE_HOME to another folder"
        )


def _widen(connection: Connection) -> None:
    """Add the columns that an older version's tables lack."""
    for table in metadata.sorted_tables:
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                wanted = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {wanted}")


def _postgresql(url: str) -> Engine:
    address = make_url(url)
    try:
        return create_engine(address.set(drivername="postgresql+psycopg"))
    except ImportError as error:
        raise JournalError(f"{address} needs a driver: pip install 'psycopg[binary]'") from error


def _sqlite(path: Path) -> Engine:
    """Take BEGIN out of the driver's hands: a transaction that reads, then writes, would fail, not wait."""
    prepare(path)
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options()["writes"]
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
