"""Threads, their labels, and the leases by which processes hold them."""

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from sqlalchemy import Connection, Select, and_, delete, func, select, update

from memory.records.database import Database, now, read_only, transaction
from memory.records.labels import contains
from memory.records.owner import Owner, live_owner
from memory.records.tables import (
    FINAL,
    UNFINISHED,
    approvals,
    completions,
    events,
    intents,
    notes,
    notes_seen,
    outputs,
    runs,
    threads,
    tool_calls,
)

Order = Literal["created", "updated", "id", "status"]


class ThreadBusy(Exception):
    """Another live process holds the thread."""

    def __init__(self, thread_id: str, owner: str) -> None:
        holder = Owner.parse(owner)
        who = f"process {holder.pid} on {holder.host}" if holder else owner
        super().__init__(f"thread {thread_id} is being run by {who}; wait for it, or cancel the thread")
        self.owner = owner


@dataclass(frozen=True)
class ThreadRow:
    """A thread with the task, status and branch of its unfinished run, else of its newest run.

    `owner` is the live process that holds it. The status of a thread without a run is `new`. `options` are
    the defaults of its next run.
    """

    id: str
    task: str
    status: str
    repo: str
    branch: str | None
    created: str
    owner: str | None
    updated: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Any) -> "ThreadRow":
        """Read a row of threads joined with runs."""
        return cls(
            id=row.id,
            task=json.loads(row.input).get("task", "") if row.input else "",
            status=row.status or "new",
            repo=row.repo,
            branch=row.branch,
            created=row.created,
            owner=live_owner(row),
            updated=row.updated or row.created,
            metadata=json.loads(row.metadata),
            options=json.loads(row.options),
        )

    def has_all(self, words: Collection[str]) -> bool:
        """Return whether the title, the task, the repository or the id hold each word, in lower case."""
        title = self.metadata.get("title", "")
        text = f"{title}\n{self.task}\n{self.repo}\n{self.id}".casefold()
        return all(word in text for word in words)

    def labels(self, of_runs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata, with labels that a thread gets from its first run on."""
        return {**(of_runs if self.status != "new" else {}), **self.metadata}

    @property
    def resumable(self) -> bool:
        """Return True if a resume could continue the thread's run."""
        return self.status not in FINAL


class Threads:
    """All threads and their leases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @transaction
    def create(
        self, connection: Connection, thread_id: str, metadata: Mapping[str, Any], repo: str = ""
    ) -> bool:
        """Create a thread. False if it exists: only a repository is added to it, where it had none."""
        return add_thread(self._database, connection, thread_id, repo, metadata)

    @transaction
    def label(self, connection: Connection, thread_id: str, metadata: Mapping[str, Any]) -> bool:
        """Merge `metadata` into the thread's own. False if there is no such thread."""
        query = select(threads.c.metadata).where(threads.c.id == thread_id).with_for_update()
        text = connection.scalar(query)
        if text is None:
            return False
        merged = json.dumps({**json.loads(text), **metadata})
        change = update(threads).where(threads.c.id == thread_id)
        connection.execute(change.values(metadata=merged, updated=now()))
        return True

    @transaction
    def remember(self, connection: Connection, thread_id: str, options: Mapping[str, Any]) -> None:
        """Store the options that the thread's next run starts with."""
        change = update(threads).where(threads.c.id == thread_id)
        connection.execute(change.values(options=json.dumps(dict(options))))

    @transaction
    def delete(self, connection: Connection, thread_id: str, owner: str = "") -> None:
        """Delete a thread with its runs and events. Raises ThreadBusy while another live process holds it."""
        if (holder := _holder(connection, thread_id)) and holder != owner:
            raise ThreadBusy(thread_id, holder)
        own = select(runs.c.id).where(runs.c.thread_id == thread_id)
        for of_runs in (completions, tool_calls, intents, notes, notes_seen):
            connection.execute(delete(of_runs).where(of_runs.c.run_id.in_(own)))
        for table in (events, outputs, approvals, runs):
            connection.execute(delete(table).where(table.c.thread_id == thread_id))
        connection.execute(delete(threads).where(threads.c.id == thread_id))

    @transaction
    def acquire(self, connection: Connection, thread_id: str, repo: str, owner: str) -> None:
        """Take the thread's lease and create the thread if needed. Raises ThreadBusy."""
        add_thread(self._database, connection, thread_id, repo)
        lease(connection, thread_id, owner)

    @transaction
    def renew(
        self, connection: Connection, owner: str, held: Mapping[str, str], seconds: float
    ) -> dict[str, bool]:
        """Renew an owner's leases and add active seconds to their runs. `held` maps threads to runs.

        Return whether each thread's cancel was requested. A thread that another process has taken over,
        as after a long suspension, is left out.
        """
        # One statement for all runs of the process: fifty by themselves kept the database busy.
        own = update(threads).where(threads.c.owner == owner, threads.c.id.in_(held))
        renewed = own.values(heartbeat=time.time()).returning(threads.c.id, threads.c.cancel)
        cancelled = {row.id: bool(row.cancel) for row in connection.execute(renewed)}
        at_work = runs.c.id.in_([held[thread_id] for thread_id in cancelled])
        connection.execute(update(runs).where(at_work).values(seconds=runs.c.seconds + seconds))
        return cancelled

    @transaction
    def release(self, connection: Connection, thread_id: str, owner: str) -> None:
        """Give up the lease, unless another process has taken it over."""
        own = and_(threads.c.id == thread_id, threads.c.owner == owner)
        connection.execute(update(threads).where(own).values(owner=None, heartbeat=0.0, cancel=False))

    @transaction
    def request_cancel(self, connection: Connection, thread_id: str) -> bool:
        """Ask the thread's owner to stop. False if no live process holds the thread."""
        if _holder(connection, thread_id) is None:
            return False
        connection.execute(update(threads).where(threads.c.id == thread_id).values(cancel=True))
        return True

    @read_only
    def get(self, connection: Connection, thread_id: str) -> ThreadRow | None:
        """Return a thread, or None."""
        row = connection.execute(_with_run().where(threads.c.id == thread_id)).one_or_none()
        return ThreadRow.of(row) if row else None

    @read_only
    def all(self, connection: Connection) -> list[ThreadRow]:
        """Return all threads, newest first."""
        rows = connection.execute(_with_run().order_by(threads.c.number.desc()))
        return [ThreadRow.of(row) for row in rows]

    @read_only
    def find(
        self,
        connection: Connection,
        words: Collection[str] = (),
        repo: str = "",
        statuses: tuple[str, ...] = (),
        limit: int = 100,
    ) -> list[ThreadRow]:
        """Return the newest threads whose title, task, repository or id contain all of `words`."""
        query = _with_run().order_by(threads.c.number.desc())
        if repo:
            query = query.where(threads.c.repo == repo)
        if statuses:
            query = query.where(func.coalesce(runs.c.status, "new").in_(statuses))
        if not words:
            query = query.limit(limit)
        # Titles and tasks are JSON, whose escapes a search by SQL would have to know.
        rows = (ThreadRow.of(row) for row in connection.execute(query))
        wanted = {word.casefold() for word in words}
        return list(islice((row for row in rows if row.has_all(wanted)), limit))

    @read_only
    def search(
        self,
        connection: Connection,
        metadata: Mapping[str, Any] | None = None,
        statuses: tuple[str, ...] = (),
        limit: int = 10,
        offset: int = 0,
        order: Order = "created",
        ascending: bool = False,
        of_runs: Mapping[str, Any] | None = None,
    ) -> list[ThreadRow]:
        """Return threads whose labels contain `metadata`, with one of `statuses`, if any is named.

        `of_runs` are labels of all threads that have a run.
        """
        status = func.coalesce(runs.c.status, "new")
        key = {
            "created": threads.c.number,
            "updated": func.coalesce(threads.c.updated, threads.c.created),
            "id": threads.c.id,
            "status": status,
        }[order]
        query = _with_run().order_by(key.asc() if ascending else key.desc(), threads.c.number.desc())
        if statuses:
            query = query.where(status.in_(statuses))
        if not metadata:
            query = query.limit(limit).offset(offset)
        rows = [ThreadRow.of(row) for row in connection.execute(query)]
        if not metadata:
            return rows
        # Metadata is JSON text, which SQLite and PostgreSQL query in different ways.
        matches = [row for row in rows if contains(row.labels(of_runs or {}), metadata)]
        return matches[offset : offset + limit]


def add_thread(
    database: Database,
    connection: Connection,
    thread_id: str,
    repo: str,
    metadata: Mapping[str, Any] | None = None,
) -> bool:
    """Create a thread, or add a repository to one that has none. True if it was created."""
    values = {"id": thread_id, "repo": repo, "created": now(), "metadata": json.dumps(metadata or {})}
    row = database.insert(threads).values(values).on_conflict_do_nothing(index_elements=["id"])
    created = connection.execute(row).rowcount == 1
    if repo and not created:
        without_repo = and_(threads.c.id == thread_id, threads.c.repo == "")
        connection.execute(update(threads).where(without_repo).values(repo=repo))
    return created


def lease(connection: Connection, thread_id: str, owner: str) -> None:
    """Take a thread's lease. Raises ThreadBusy while a live process holds it."""
    if holder := _holder(connection, thread_id):
        raise ThreadBusy(thread_id, holder)
    # A cancel that the last owner did not see is not meant for this one.
    taken = {"owner": owner, "heartbeat": time.time(), "cancel": False}
    connection.execute(update(threads).where(threads.c.id == thread_id).values(taken))


def touch(connection: Connection, thread_id: str) -> None:
    """Set the time at which something last happened on a thread."""
    connection.execute(update(threads).where(threads.c.id == thread_id).values(updated=now()))


def _holder(connection: Connection, thread_id: str) -> str | None:
    query = select(threads.c.owner, threads.c.heartbeat).where(threads.c.id == thread_id).with_for_update()
    row = connection.execute(query).one_or_none()
    return live_owner(row) if row else None


def _with_run() -> Select[Any]:
    """Select threads with their first unfinished run, else their newest run."""
    own = runs.alias()
    of_thread = own.c.thread_id == threads.c.id
    unfinished = and_(of_thread, own.c.status.in_(UNFINISHED))
    # Subqueries, because a join with the runs themselves would give a row for each run.
    first = select(func.min(own.c.number)).where(unfinished).scalar_subquery()
    newest = select(func.max(own.c.number)).where(of_thread).scalar_subquery()
    return (
        select(threads, runs.c.input, runs.c.status, runs.c.branch)
        .select_from(threads)
        .outerjoin(runs, runs.c.number == func.coalesce(first, newest))
    )
