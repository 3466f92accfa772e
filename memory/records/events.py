"""Append-only event log of each thread, and the full data of events that were cut for it."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, and_, select, update

from memory.records.database import Database, JournalError, now, read_only, transaction
from memory.records.tables import ACTIVE, events, outputs, runs, threads
from memory.secrets import masked_tokens
from memory.validation import faults_of

LARGEST = 64 * 1024
"""Characters of JSON that an event's data may have."""

SHORTEST = 256
"""Shortest length that texts are cut to, so ids and paths stay whole."""

NEVER_CUT = ("run.finished", "approval.required", "plan")
"""Cutting would lose cases of a proof, or hide part of what a person must approve."""


class EventDraft(Protocol):
    """An event before it is numbered."""

    @property
    def type(self) -> str: ...
    @property
    def data(self) -> BaseModel: ...
    @property
    def node(self) -> str | None: ...
    @property
    def step_id(self) -> str | None: ...


class NumberedEvent(Protocol):
    """An event of a thread's log."""

    @property
    def seq(self) -> int: ...


E = TypeVar("E", bound=NumberedEvent)


class Events(Generic[E]):
    """The logs of all threads. `parse` turns a stored row into a numbered event."""

    def __init__(self, database: Database, parse: Callable[[Any], E], secrets: Sequence[str]) -> None:
        self._database = database
        self._parse = parse
        self._secrets = tuple(secrets)
        self._listeners: list[Callable[[Sequence[E]], None]] = []

    def subscribe(self, listener: Callable[[Sequence[E]], None]) -> None:
        """Call `listener` in the event loop with the events that this journal stores, once they are stored.

        Each call passes events of one thread, in their order.
        """
        self._listeners.append(listener)

    @read_only
    def read(
        self,
        connection: Connection,
        thread_id: str,
        after: int = 0,
        limit: int | None = None,
        characters: float = inf,
    ) -> list[E]:
        """Return the thread's events with a `seq` above `after`, in order.

        At most `limit` of them, and no more once their data has so many `characters`.
        """
        later = and_(events.c.thread_id == thread_id, events.c.seq > after)
        query = select(events).where(later).order_by(events.c.seq).limit(limit)
        read: list[E] = []
        with connection.execute(query) as rows:
            for row in rows.mappings():
                read.append(self._read(row))
                characters -= len(row["data"])
                if characters <= 0:
                    break
        return read

    @read_only
    def full_data(self, connection: Connection, thread_id: str, seq: int) -> dict[str, Any] | None:
        """Return the uncut data of an event, or None if there is no such event."""
        for table in (outputs, events):
            place = and_(table.c.thread_id == thread_id, table.c.seq == seq)
            text: str | None = connection.scalar(select(table.c.data).where(place))
            if text is not None:
                return dict(json.loads(text))
        return None

    @read_only
    def answers(self, connection: Connection, thread_ids: Collection[str]) -> dict[str, str]:
        """Return the newest text that an agent has said to the user on each of these threads."""
        said = and_(events.c.type == "message", events.c.thread_id.in_(thread_ids))
        query = select(events.c.thread_id, events.c.data).where(said).order_by(events.c.seq)
        messages = ((row.thread_id, json.loads(row.data)) for row in connection.execute(query))
        return {thread: data["text"] for thread, data in messages if data["role"] == "assistant"}

    @read_only
    def ends(self, connection: Connection, thread_ids: Collection[str]) -> dict[str, int]:
        """Return the newest `seq` of each of these threads that exists."""
        query = select(threads.c.id, threads.c.last_seq).where(threads.c.id.in_(thread_ids))
        return {row.id: row.last_seq for row in connection.execute(query)}

    @read_only
    def exhausted(self, connection: Connection, thread_id: str, run_id: str, after: int) -> bool:
        """Return True if the run is not active and has no events above `after`."""
        if connection.scalar(select(runs.c.status).where(runs.c.id == run_id)) in ACTIVE:
            return False
        own = and_(events.c.thread_id == thread_id, events.c.seq > after, events.c.run_id == run_id)
        return connection.scalar(select(events.c.seq).where(own).limit(1)) is None

    @read_only
    def has_started(self, connection: Connection, thread_id: str, run_id: str) -> bool:
        """Return True if the log holds a start of the run."""
        own = and_(events.c.thread_id == thread_id, events.c.run_id == run_id, events.c.type == "run.started")
        return connection.scalar(select(events.c.seq).where(own).limit(1)) is not None

    def add(
        self, connection: Connection, thread_id: str, run_id: str, drafts: Iterable[EventDraft]
    ) -> list[E]:
        """Store drafts and return them as numbered events, secrets masked. All are stored or none.

        Runs as part of the caller's transaction. Raises JournalError if the thread is unknown or an event is
        ill-shaped.
        """
        drafts = list(drafts)
        if not drafts:
            return []
        # The UPDATE locks the thread's row, so writers in other processes cannot take the same numbers.
        advance = update(threads).where(threads.c.id == thread_id)
        counted = advance.values(last_seq=threads.c.last_seq + len(drafts)).returning(threads.c.last_seq)
        end = connection.scalar(counted)
        if end is None:
            raise JournalError(f"there is no thread {thread_id}, so its events cannot be stored")
        rows: list[dict[str, Any]] = []
        stored: list[E] = []
        for seq, draft in enumerate(drafts, end - len(drafts) + 1):
            row = {"thread_id": thread_id, "seq": seq, "run_id": run_id, "ts": now(), "type": draft.type}
            row |= {"node": draft.node, "step_id": draft.step_id}
            with _ill_shaped(row, "stored"):
                row["data"], text, row["cut"] = self._fit(connection, thread_id, seq, draft)
                stored.append(self._parse(row))
            rows.append({**row, "data": text})
        connection.execute(events.insert(), rows)
        for listener in self._listeners:
            self._database.after_commit(partial(listener, stored))
        return stored

    write = transaction(add)

    def mask(self, text: str) -> str:
        """Replace secrets in `text`, as in the data of events."""
        return str(masked_tokens(text, self._secrets))

    def _read(self, row: Mapping[Any, Any]) -> E:
        with _ill_shaped(row, "read"):
            return self._parse({**row, "data": json.loads(row["data"])})

    def _fit(
        self, connection: Connection, thread_id: str, seq: int, draft: EventDraft
    ) -> tuple[dict[str, Any], str, bool]:
        """Return a draft's data in its stored form, the same as JSON, and whether it was cut."""
        # A payload may have been built without validation, and masking may change a status. `add` parses
        # the result, so pydantic need not warn.
        data = masked_tokens(draft.data.model_dump(mode="json", warnings=False), self._secrets)
        text = json.dumps(data)
        if len(text) <= LARGEST or draft.type in NEVER_CUT:
            return data, text, False
        connection.execute(outputs.insert().values(thread_id=thread_id, seq=seq, data=text))
        data = _shorten(data, len(text))
        return data, json.dumps(data), True


@contextmanager
def _ill_shaped(row: Mapping[Any, Any], action: str) -> Iterator[None]:
    """Turn what parsing a row raises into a JournalError. Inside a transaction it rolls everything back."""
    try:
        yield
    except ValueError as error:
        reasons = "; ".join(faults_of(error)) if isinstance(error, ValidationError) else str(error)
        event = f"{row['type']} event {row['seq']} of thread {row['thread_id']}"
        raise JournalError(f"the {event} is ill-shaped and cannot be {action}: {reasons}") from error


def _shorten(data: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Bring `data` of `size` characters below LARGEST: cut the middle of long texts and the end of lists."""
    limit = LARGEST // 4
    while size > LARGEST and limit >= SHORTEST:
        data = _cut(data, limit, max(limit // 64, 4))
        size = len(json.dumps(data))
        limit //= 2  # many middle-sized texts need several rounds
    return dict(data)


def _cut(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, str) and len(value) > characters:
        half = characters // 2
        left_out = len(value) - 2 * half
        return f"{value[:half]}\n[… {left_out} characters left out …]\n{value[-half:]}"
    if isinstance(value, Mapping):
        return {key: _cut(item, characters, items) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, characters, items) for item in value[:items]]
    return value
