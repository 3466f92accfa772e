"""Connection to the database of all records: SQLite in WAL mode, or PostgreSQL."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, inspect, make_url, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from memory.records.tables import SCHEMA, about, metadata
from memory.secrets import masked, spellings

P = ParamSpec("P")
CONNECT_SECONDS = 10

T = TypeVar("T")
S = TypeVar("S", bound="Persistent")

PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL")
"""Settings of each SQLite connection. The time-out (ms) comes first, because the switch to WAL may wait."""


class JournalError(Exception):
    """The database cannot be used, or an event cannot be stored or read."""


def sqlite_path(url: str) -> Path | None:
    """Return the file of a `sqlite:///PATH`, or None for another kind of database."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def now(precision: str = "milliseconds") -> str:
    """Return the time as RFC 3339 UTC."""
    return datetime.now(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def prepare(path: Path) -> None:
    """Create the database's folder (0700) and file (0600) if they are missing."""
    # An existing file is not opened: closing it would drop the locks that SQLite holds in this process.
    with explained(str(path)), suppress(FileExistsError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn an exception of the driver into a JournalError that says where it happened and what to do."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, OSError) as error:
        # SQLAlchemy's own text would show the statement with its values.
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
    """One connection in a thread of its own, in which the process's transactions queue.

    A transaction in the event loop's thread could be cancelled between INSERT and COMMIT and lock the file.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._callbacks: list[Callable[[], None]] = []
        self.where = where

    @classmethod
    async def open(cls, url: str, secrets: Iterable[str] = ()) -> "Database":
        """Connect to `sqlite:///PATH` or `postgresql://…`, and create missing tables and columns.

        No table ever stores one of `secrets`, whoever writes it.
        """
        path = sqlite_path(url)
        engine = await asyncio.to_thread(_sqlite, path) if path else _postgresql(url)
        if forms := spellings(secrets):
            _mask_values(engine, forms)
        database = cls(engine, str(path or engine.url))
        try:
            await database.run(_create, writes=True)
        except BaseException:
            await database.aclose()
            raise
        return database

    async def aclose(self) -> None:
        """Finish the queued transactions and close the connection."""
        await asyncio.wrap_future(self._thread.submit(self._close))
        self._thread.shutdown(wait=False)

    async def run(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Run `work` as one transaction. It finishes even if the caller is cancelled."""
        future = self._thread.submit(self._run, work, writes, asyncio.get_running_loop())
        return await asyncio.shield(asyncio.wrap_future(future))

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the event loop once the transaction that is running now is stored."""
        self._callbacks.append(callback)

    def insert(self, table: Table) -> Any:
        """Return an INSERT that has ON CONFLICT, which SQLAlchemy offers for each dialect by itself."""
        if self._engine.dialect.name == "sqlite":
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def _run(self, work: Callable[[Connection], T], writes: bool, loop: asyncio.AbstractEventLoop) -> T:
        self._callbacks = []
        with explained(self.where):
            if self._connection is None:  # opened here, because sqlite3 binds a connection to its thread
                self._connection = self._engine.connect()
            self._connection.execution_options(writes=writes)
            with self._connection.begin():
                result = work(self._connection)
        # The loop runs them before it resumes the caller, whose future is resolved after this method.
        for callback in self._callbacks:
            loop.call_soon_threadsafe(callback)
        return result

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


class Persistent(Protocol):
    """A part of the journal that has a database."""

    _database: Database


def transaction(
    method: Callable[Concatenate[S, Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run a method as one transaction in the database's thread. Callers await it and pass no connection."""
    return _in_database(method, writes=True)


def read_only(
    method: Callable[Concatenate[S, Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run a method like `transaction`, but without waiting for writers in other processes."""
    return _in_database(method, writes=False)


def _in_database(
    method: Callable[Concatenate[S, Connection, P], T], *, writes: bool
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    @wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.run(
            lambda connection: method(self, connection, *args, **kwargs), writes=writes
        )

    return call


def _mask_values(engine: Engine, secrets: tuple[str, ...]) -> None:
    """Mask the values of every statement."""

    def clean(parameters: Any) -> Any:
        # The names of parameters stay, and so does the type of a row, unlike in `masked`.
        if isinstance(parameters, Mapping):
            return {name: clean(value) for name, value in parameters.items()}
        if isinstance(parameters, list | tuple):
            return type(parameters)(map(clean, parameters))
        return masked(parameters, secrets)

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def execute(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        return statement, clean(parameters)


def _create(connection: Connection) -> None:
    """Create missing tables and columns, and store the version of the tables."""
    if connection.dialect.name == "postgresql":  # in SQLite, BEGIN IMMEDIATE lets first openers wait
        connection.execute(select(func.pg_advisory_xact_lock(0)))
    metadata.create_all(connection)
    number = connection.scalar(select(about.c.value).where(about.c.key == "schema"))  # None in schema 1
    if number is None or int(number) < SCHEMA:
        _widen(connection)
        connection.execute(about.delete().where(about.c.key == "schema"))
        connection.execute(about.insert().values(key="schema", value=str(SCHEMA)))
    elif int(number) > SCHEMA:
        raise JournalError(
            f"the database was made by a newer AutoCodeAI (schema {number}, this version knows {SCHEMA}): "
            "install that version, or set AUTOCODE_HOME to another folder"
        )


def _widen(connection: Connection) -> None:
    """Add the columns that tables of an older version lack."""
    # `create_all` leaves existing tables as they are.
    for table in metadata.sorted_tables:
        present = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")


def _postgresql(url: str) -> Engine:
    address = make_url(url)
    try:
        return create_engine(
            address.set(drivername="postgresql+psycopg"), connect_args={"connect_timeout": CONNECT_SECONDS}
        )
    except ImportError as error:
        raise JournalError(f"{address} needs a driver: pip install 'psycopg[binary]'") from error


def _sqlite(path: Path) -> Engine:
    """Create an engine that begins transactions by itself."""
    # After the driver's own BEGIN, a transaction that reads and then writes may fail instead of waiting.
    prepare(path)
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # no BEGIN by the driver
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options()["writes"]
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
