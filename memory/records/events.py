"""The append-only event log of each thread, and the full text of what was too large for it."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, update

from memory.records.database import Database, JournalError, transaction, view
from memory.records.rows import Entry, Record, now
from memory.records.tables import events, outputs, runs, threads
from memory.secrets import masked

LARGEST = 64 * 1024
"""Characters of JSON that an event's data may have."""

SHORTEST = 256
"""No text is cut to fewer characters: ids and paths stay whole."""

ENDS = select(threads.c.id, threads.c.last_seq).where(threads.c.id.in_(bindparam("ids", expanding=True)))
LOCKED = ENDS.order_by(threads.c.id).with_for_update()
ADVANCE = update(threads).where(threads.c.id == bindparam("thread")).values(last_seq=bindparam("end"))
ADVANCE_ONE = (
    update(threads)
    .where(threads.c.id == bindparam("thread"))
    .values(last_seq=threads.c.last_seq + bindparam("count"))
    .returning(threads.c.last_seq)
)
INSERT = events.insert()
"""Made once: SQLAlchemy takes longer over a statement than SQLite does."""


class Log:
    """Events of all threads."""

    _database: Database
    _secrets: tuple[str, ...]

    @transaction
    def append(
        self,
        connection: Connection,
        thread_id: str,
        run_id: str,
        type: str,
        data: Mapping[str, Any],
        node: str | None = None,
        step_id: str | None = None,
    ) -> Record:
        """Write one event, secrets masked; it is on disk before this returns, and returned as written."""
        return self._append(connection, Entry(thread_id, run_id, type, data, node, step_id))

    @transaction
    def append_all(self, connection: Connection, entries: Iterable[Entry]) -> list[Record | None]:
        """Write events in their order as one transaction; None for an event whose thread does not exist."""
        return self._append_all(connection, list(entries))

    @view
    def records(
        self, connection: Connection, thread_id: str, after: int = 0, limit: int | None = None
    ) -> list[Record]:
        """The thread's events with a `seq` above `after`, in order."""
        later = and_(events.c.thread_id == thread_id, events.c.seq > after)
        rows = connection.execute(select(events).where(later).order_by(events.c.seq).limit(limit)).all()
        return [Record.of(row) for row in rows]

    @view
    def output(self, connection: Connection, thread_id: str, seq: int) -> dict[str, Any] | None:
        """The whole data of an event, cut or not; None where there is no such event."""
        for table in (outputs, events):
            found = and_(table.c.thread_id == thread_id, table.c.seq == seq)
            text: str | None = connection.scalar(select(table.c.data).where(found))
            if text is not None:
                return dict(json.loads(text))
        return None

    @view
    def ends(self, connection: Connection, thread_ids: Collection[str]) -> dict[str, int]:
        """The newest `seq` of each of these threads that exists."""
        return {row.id: row.last_seq for row in connection.execute(ENDS, {"ids": list(thread_ids)})}

    @view
    def quiet(self, connection: Connection, thread_id: str, run_id: str, after: int) -> bool:
        """True when the run is neither active nor has events above `after`: nothing of it is to come."""
        status = connection.scalar(select(runs.c.status).where(runs.c.id == run_id))
        if status in ("queued", "running"):
            return False
        own = and_(events.c.thread_id == thread_id, events.c.seq > after, events.c.run_id == run_id)
        return connection.scalar(select(events.c.seq).where(own).limit(1)) is None

    @view
    def began(self, connection: Connection, thread_id: str, run_id: str) -> bool:
        """True when the run has events that say that it was at work before."""
        own = and_(events.c.thread_id == thread_id, events.c.run_id == run_id, events.c.type == "run.started")
        return connection.scalar(select(events.c.seq).where(own).limit(1)) is not None

    def _append(self, connection: Connection, entry: Entry) -> Record:
        (record,) = self._append_all(connection, [entry])
        if record is None:
            raise JournalError(f"there is no thread {entry.thread_id} to write to; acquire it first")
        return record

    def _append_all(self, connection: Connection, entries: list[Entry]) -> list[Record | None]:
        numbers = _reserve(connection, Counter(entry.thread_id for entry in entries))
        records: list[Record | None] = []
        rows: list[dict[str, Any]] = []
        for entry in entries:
            number = numbers.get(entry.thread_id)
            if number is None:
                records.append(None)
                continue
            numbers[entry.thread_id] = number + 1
            row, record = self._row(connection, entry, number)
            rows.append(row)
            records.append(record)
        if rows:
            connection.execute(INSERT, rows)
        return records

    def _row(self, connection: Connection, entry: Entry, seq: int) -> tuple[dict[str, Any], Record]:
        data = masked(dict(entry.data), self._secrets)
        text = json.dumps(data)
        cut = len(text) > LARGEST and not entry.whole
        if cut:
            connection.execute(outputs.insert().values(thread_id=entry.thread_id, seq=seq, data=text))
            data = shortened(data, len(text))
            text = json.dumps(data)
        record = Record(
            seq, entry.thread_id, entry.run_id, now(), entry.type, entry.node, entry.step_id, data, cut
        )
        return {**vars(record), "data": text}, record


def _reserve(connection: Connection, counts: Mapping[str, int]) -> dict[str, int]:
    """Take so many numbers of each thread's log and give the first ones; no entry for an unknown thread.

    One statement for one thread, two for many: beside a busy event loop each one waits for the interpreter.
    """
    if len(counts) == 1:
        ((thread, count),) = counts.items()
        end = connection.scalar(ADVANCE_ONE, {"thread": thread, "count": count})
        return {} if end is None else {thread: end - count + 1}
    ends = {row.id: row.last_seq for row in connection.execute(LOCKED, {"ids": list(counts)})}
    if ends:
        connection.execute(ADVANCE, [{"thread": id, "end": end + counts[id]} for id, end in ends.items()])
    return {thread_id: end + 1 for thread_id, end in ends.items()}


def shortened(data: Mapping[str, Any], size: int) -> dict[str, Any]:
    """`data` of `size` characters within LARGEST: long texts lose their middle, long lists their end."""
    limit = LARGEST // 4
    while size > LARGEST and limit >= SHORTEST:
        data = _cut(data, limit, max(limit // 64, 4))
        size = len(json.dumps(data))
        limit //= 2
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
