"""The journal: threads and who holds them, their runs, the append-only event log, checks of bases."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, select, update

from memory.budget import BudgetSpent
from memory.completions import Completions
from memory.database import Database, JournalError, transaction, view
from memory.episodes import Episodes
from memory.owner import Owner
from memory.tables import checks, completions, events, runs, threads

__all__ = ["BudgetSpent", "Journal", "JournalError", "Record", "RunRow", "ThreadBusy", "ThreadRow"]

LEASE_SECONDS = 15.0
"""How old a heartbeat may be before a process that cannot be seen from here counts as dead."""


@dataclass(frozen=True)
class Record:
    """One line of a thread's log; `seq` counts from 1 without gaps, `ts` is RFC 3339 UTC."""

    seq: int
    thread_id: str
    run_id: str
    ts: str
    type: str
    node: str | None
    step_id: str | None
    data: dict[str, Any]


@dataclass(frozen=True)
class ThreadRow:
    """A thread with its newest run's task, status and branch; `owner` is the live process that holds it."""

    id: str
    task: str
    status: str
    repo: str
    branch: str | None
    created: str
    owner: str | None


@dataclass(frozen=True)
class RunRow:
    """One run; `seconds` is the time it was at work, parks and crashes left out."""

    id: str
    thread_id: str
    input: dict[str, Any]
    status: str
    branch: str | None
    started: str
    finished: str | None
    seconds: float


class ThreadBusy(Exception):
    """Another live process holds the thread."""

    def __init__(self, thread_id: str, owner: str) -> None:
        holder = Owner.parse(owner)
        who = f"process {holder.pid} on {holder.host}" if holder else owner
        super().__init__(f"thread {thread_id} is being run by {who}; wait for it, or cancel the thread")
        self.owner = owner


class Journal:
    """Everything durable but the checkpoints: `completions` for the models, `episodes` for memory."""

    def __init__(self, database: Database, secrets: Sequence[str] = ()) -> None:
        self._database = database
        self._secrets = tuple(secret for secret in secrets if secret)
        self.completions = Completions(database, self._masked)
        self.episodes = Episodes(database, self._masked)

    @classmethod
    async def open(cls, url: str, secrets: Sequence[str] = ()) -> "Journal":
        """Open `sqlite:///PATH` or `postgresql://…`; what equals one of `secrets` is logged as ***."""
        return cls(await Database.open(url), secrets)

    async def aclose(self) -> None:
        """Close the database."""
        await self._database.aclose()

    @transaction
    def acquire(self, connection: Connection, thread_id: str, repo: str, owner: str) -> None:
        """Take the thread's lease, creating the thread; ThreadBusy while a live process holds it."""
        new = self._database.insert(threads).values(id=thread_id, repo=repo, created=_now())
        held = select(threads.c.owner, threads.c.heartbeat).where(threads.c.id == thread_id).with_for_update()
        lease = {"owner": owner, "heartbeat": time.time(), "cancel": False}
        connection.execute(new.on_conflict_do_nothing(index_elements=["id"]))
        if holder := _live_owner(connection.execute(held).one()):
            raise ThreadBusy(thread_id, holder)
        connection.execute(update(threads).where(threads.c.id == thread_id).values(lease))

    @transaction
    def forget(self, connection: Connection, thread_id: str) -> None:
        """Delete a thread with its runs, events and completions; ThreadBusy while a live process holds it."""
        held = select(threads.c.owner, threads.c.heartbeat).where(threads.c.id == thread_id).with_for_update()
        row = connection.execute(held).one_or_none()
        if row and (holder := _live_owner(row)):
            raise ThreadBusy(thread_id, holder)
        own = select(runs.c.id).where(runs.c.thread_id == thread_id)
        connection.execute(delete(completions).where(completions.c.run_id.in_(own)))
        for table in (events, runs):
            connection.execute(delete(table).where(table.c.thread_id == thread_id))
        connection.execute(delete(threads).where(threads.c.id == thread_id))

    @transaction
    def beat(self, connection: Connection, thread_id: str, owner: str, run_id: str, seconds: float) -> bool:
        """Renew the lease and add active seconds to the run; True when a cancel was asked for.

        ThreadBusy when another process has taken the thread over, as after a long suspension.
        """
        mine = update(threads).where(_held_by(thread_id, owner)).values(heartbeat=time.time())
        worked = update(runs).where(runs.c.id == run_id).values(seconds=runs.c.seconds + seconds)
        row = connection.execute(mine.returning(threads.c.cancel)).one_or_none()
        if row is None:
            holder = select(threads.c.owner).where(threads.c.id == thread_id)
            raise ThreadBusy(thread_id, connection.scalar(holder) or "nobody")
        connection.execute(worked)
        return bool(row.cancel)

    @transaction
    def release(self, connection: Connection, thread_id: str, owner: str) -> None:
        """Give the lease back; nothing happens when it is somebody else's by now."""
        free = {"owner": None, "heartbeat": 0.0, "cancel": False}
        connection.execute(update(threads).where(_held_by(thread_id, owner)).values(free))

    @transaction
    def ask_cancel(self, connection: Connection, thread_id: str) -> bool:
        """Ask the thread's owner to stop; False when no live process would see it."""
        held = select(threads.c.owner, threads.c.heartbeat).where(threads.c.id == thread_id).with_for_update()
        row = connection.execute(held).one_or_none()
        if row is None or not _live_owner(row):
            return False
        connection.execute(update(threads).where(threads.c.id == thread_id).values(cancel=True))
        return True

    async def thread(self, thread_id: str) -> ThreadRow | None:
        """One thread, or None."""
        found = await self._threads(_threads_with_newest_run().where(threads.c.id == thread_id))
        return found[0] if found else None

    async def threads(self) -> list[ThreadRow]:
        """All threads, newest first."""
        return await self._threads(_threads_with_newest_run())

    @transaction
    def start_run(
        self, connection: Connection, run_id: str, thread_id: str, input: Mapping[str, Any]
    ) -> None:
        """Note a new run."""
        values = {"id": run_id, "thread_id": thread_id, "input": json.dumps(dict(input))}
        connection.execute(runs.insert().values(**values, status="running", started=_now()))

    @transaction
    def continue_run(self, connection: Connection, run_id: str) -> None:
        """Note that a run that had parked, stopped or crashed goes on."""
        values = {"status": "running", "finished": None}
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))

    @transaction
    def finish_run(self, connection: Connection, run_id: str, status: str, branch: str | None = None) -> None:
        """Note how a run ended or parked; a branch that was noted before stays."""
        values = {"status": status, "finished": _now(), **({"branch": branch} if branch else {})}
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))

    @view
    def last_run(self, connection: Connection, thread_id: str) -> RunRow | None:
        """The thread's newest run, or None."""
        newest = select(runs).where(runs.c.thread_id == thread_id).order_by(runs.c.number.desc()).limit(1)
        row = connection.execute(newest).one_or_none()
        if row is None:
            return None
        values = row._asdict()
        del values["number"]
        return RunRow(**{**values, "input": json.loads(row.input)})

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
        masked = self._masked(dict(data))
        step = update(threads).where(threads.c.id == thread_id).values(last_seq=threads.c.last_seq + 1)
        seq = connection.execute(step.returning(threads.c.last_seq)).scalar_one_or_none()
        if seq is None:
            raise JournalError(f"there is no thread {thread_id} to write to; acquire it first")
        record = Record(seq, thread_id, run_id, _now(), type, node, step_id, masked)
        values = {**vars(record), "data": json.dumps(masked)}
        connection.execute(events.insert().values(values))
        return record

    @view
    def records(self, connection: Connection, thread_id: str, after: int = 0) -> list[Record]:
        """The thread's events with a `seq` above `after`, in order."""
        later = and_(events.c.thread_id == thread_id, events.c.seq > after)
        rows = connection.execute(select(events).where(later).order_by(events.c.seq)).all()
        return [Record(**{**row._asdict(), "data": json.loads(row.data)}) for row in rows]

    @view
    def check(self, connection: Connection, key: str) -> str | None:
        """What was stored under `key` for a check on a base, or None."""
        value: str | None = connection.scalar(select(checks.c.value).where(checks.c.key == key))
        return value

    @transaction
    def store_check(self, connection: Connection, key: str, value: str) -> None:
        """Keep a check's result; a later one under the same key replaces it."""
        row = self._database.insert(checks).values(key=key, value=value)
        connection.execute(
            row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value})
        )

    @view
    def _threads(self, connection: Connection, query: Select[Any]) -> list[ThreadRow]:
        rows = connection.execute(query).all()
        return [_thread_row(row) for row in rows]

    def _masked(self, value: Any) -> Any:
        """`value` with every secret in its texts, keys included, replaced by ***."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, "***")
            return value
        if isinstance(value, Mapping):
            return {self._masked(key): self._masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(item) for item in value]
        return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _held_by(thread_id: str, owner: str) -> ColumnElement[bool]:
    return and_(threads.c.id == thread_id, threads.c.owner == owner)


def _live_owner(row: Any) -> str | None:
    """The lease's owner while its heartbeat is fresh and its process not known to be dead."""
    if not row.owner or time.time() - row.heartbeat >= LEASE_SECONDS:
        return None
    owner = Owner.parse(row.owner)
    return None if owner and owner.died() else str(row.owner)


def _threads_with_newest_run() -> Select[Any]:
    own = runs.alias()
    newest = select(func.max(own.c.number)).where(own.c.thread_id == threads.c.id).scalar_subquery()
    return (
        select(threads, runs.c.input, runs.c.status, runs.c.branch)
        .select_from(threads)
        .outerjoin(runs, runs.c.number == newest)
        .order_by(threads.c.number.desc())
    )


def _thread_row(row: Any) -> ThreadRow:
    task = json.loads(row.input).get("task", "") if row.input else ""
    status = row.status or "new"
    return ThreadRow(row.id, task, status, row.repo, row.branch, row.created, _live_owner(row))
