"""Threads: who holds them, what they are labelled with, which there are."""

import json
import time
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, select, update

from memory.records.database import Database, transaction, view
from memory.records.rows import UNFINISHED, ThreadBusy, ThreadRow, live_owner, now
from memory.records.tables import approvals, completions, events, notes, notes_seen, outputs, runs, threads

Order = Literal["created", "updated", "id", "status"]

OWN = runs.alias()
OF_THREAD = OWN.c.thread_id == threads.c.id
UNFINISHED_OF_THREAD = and_(OF_THREAD, OWN.c.status.in_(UNFINISHED))
FIRST = select(func.min(OWN.c.number)).where(UNFINISHED_OF_THREAD).scalar_subquery()
NEWEST = select(func.max(OWN.c.number)).where(OF_THREAD).scalar_subquery()
WITH_RUN = (
    select(threads, runs.c.input, runs.c.status, runs.c.branch)
    .select_from(threads)
    .outerjoin(runs, runs.c.number == func.coalesce(FIRST, NEWEST))
)
"""Threads with their first unfinished run, else their newest."""

ONE = WITH_RUN.where(threads.c.id == bindparam("id"))


class Threads:
    """All threads and their leases."""

    _database: Database

    @transaction
    def acquire(self, connection: Connection, thread_id: str, repo: str, owner: str) -> None:
        """Take the thread's lease, creating the thread; ThreadBusy while a live process holds it."""
        self._add(connection, thread_id, repo)
        lease(connection, thread_id, owner)

    @transaction
    def create_thread(
        self, connection: Connection, thread_id: str, metadata: Mapping[str, Any], repo: str = ""
    ) -> bool:
        """Create a thread; False when there is one already, which stays as it is."""
        return self._add(connection, thread_id, repo, metadata)

    @transaction
    def label(self, connection: Connection, thread_id: str, metadata: Mapping[str, Any]) -> bool:
        """Merge `metadata` into the thread's; False when there is no such thread."""
        query = select(threads.c.metadata).where(threads.c.id == thread_id).with_for_update()
        text = connection.scalar(query)
        if text is None:
            return False
        merged = json.dumps({**json.loads(text), **metadata})
        change = update(threads).where(threads.c.id == thread_id)
        connection.execute(change.values(metadata=merged, updated=now()))
        return True

    @transaction
    def forget(self, connection: Connection, thread_id: str) -> None:
        """Delete a thread with all that is kept of its runs; ThreadBusy while a live process holds it."""
        held = select(threads.c.owner, threads.c.heartbeat).where(threads.c.id == thread_id).with_for_update()
        row = connection.execute(held).one_or_none()
        if row and (holder := live_owner(row)):
            raise ThreadBusy(thread_id, holder)
        own = select(runs.c.id).where(runs.c.thread_id == thread_id)
        for of_runs in (completions, notes, notes_seen):
            connection.execute(delete(of_runs).where(of_runs.c.run_id.in_(own)))
        for table in (events, outputs, approvals, runs):
            connection.execute(delete(table).where(table.c.thread_id == thread_id))
        connection.execute(delete(threads).where(threads.c.id == thread_id))

    @transaction
    def beat(
        self, connection: Connection, owner: str, held: Mapping[str, str], seconds: float
    ) -> dict[str, bool]:
        """Renew an owner's leases and add active seconds to their runs; `held` names each thread's run.

        Says of each thread whether a cancel was asked for; one that is left out has been taken over by
        another process, as after a long suspension.
        """
        mine = update(threads).where(threads.c.owner == owner, threads.c.id.in_(held))
        beaten = mine.values(heartbeat=time.time()).returning(threads.c.id, threads.c.cancel)
        asked = {row.id: bool(row.cancel) for row in connection.execute(beaten)}
        at_work = runs.c.id.in_([held[thread_id] for thread_id in asked])
        connection.execute(update(runs).where(at_work).values(seconds=runs.c.seconds + seconds))
        return asked

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
        if row is None or not live_owner(row):
            return False
        connection.execute(update(threads).where(threads.c.id == thread_id).values(cancel=True))
        return True

    async def thread(self, thread_id: str) -> ThreadRow | None:
        """One thread, or None."""
        found = await self._threads(ONE, {"id": thread_id})
        return found[0] if found else None

    async def threads(self) -> list[ThreadRow]:
        """All threads, newest first."""
        return await self._threads(WITH_RUN.order_by(threads.c.number.desc()))

    async def search_threads(
        self,
        metadata: Mapping[str, Any] | None = None,
        statuses: tuple[str, ...] = (),
        limit: int = 10,
        offset: int = 0,
        order: Order = "created",
        ascending: bool = False,
    ) -> list[ThreadRow]:
        """Threads whose metadata hold all of `metadata` and whose status is one of `statuses`, if any."""
        status = func.coalesce(runs.c.status, "new")
        by = {
            "created": threads.c.number,
            "updated": func.coalesce(threads.c.updated, threads.c.created),
            "id": threads.c.id,
            "status": status,
        }[order]
        query = WITH_RUN.order_by(by.asc() if ascending else by.desc(), threads.c.number.desc())
        if statuses:
            query = query.where(status.in_(statuses))
        if not metadata:
            return await self._threads(query.limit(limit).offset(offset))
        wanted = dict(metadata).items()
        found = [
            row for row in await self._threads(query) if all(row.metadata.get(k) == v for k, v in wanted)
        ]
        return found[offset : offset + limit]

    @view
    def _threads(
        self, connection: Connection, query: Select[Any], values: Mapping[str, Any] | None = None
    ) -> list[ThreadRow]:
        return [ThreadRow.of(row) for row in connection.execute(query, values)]

    def _add(
        self, connection: Connection, thread_id: str, repo: str, metadata: Mapping[str, Any] | None = None
    ) -> bool:
        """Make sure that there is a thread; a repository is noted where none was yet."""
        values = {"id": thread_id, "repo": repo, "created": now(), "metadata": json.dumps(metadata or {})}
        new = self._database.insert(threads).values(values).on_conflict_do_nothing(index_elements=["id"])
        made = connection.execute(new).rowcount == 1
        if repo and not made:
            homeless = and_(threads.c.id == thread_id, threads.c.repo == "")
            connection.execute(update(threads).where(homeless).values(repo=repo))
        return made


def lease(connection: Connection, thread_id: str, owner: str) -> None:
    """Take a thread's lease; ThreadBusy while a live process holds it."""
    held = select(threads.c.owner, threads.c.heartbeat).where(threads.c.id == thread_id).with_for_update()
    if holder := live_owner(connection.execute(held).one()):
        raise ThreadBusy(thread_id, holder)
    taken = {"owner": owner, "heartbeat": time.time(), "cancel": False}
    connection.execute(update(threads).where(threads.c.id == thread_id).values(taken))


def touch(connection: Connection, thread_id: str) -> None:
    """Note that something has happened on a thread."""
    connection.execute(update(threads).where(threads.c.id == thread_id).values(updated=now()))


def _held_by(thread_id: str, owner: str) -> ColumnElement[bool]:
    return and_(threads.c.id == thread_id, threads.c.owner == owner)
