"""Runs from their submission through queue, claim and park to their end."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

from sqlalchemy import Connection, Select, and_, delete, exists, select, update

from memory.records.database import Database, now, read_only, transaction
from memory.records.events import E, EventDraft, Events
from memory.records.owner import live_owner
from memory.records.tables import (
    ACTIVE,
    FINAL,
    UNFINISHED,
    approvals,
    completions,
    notes_seen,
    runs,
    threads,
    tool_calls,
)
from memory.records.threads import ThreadBusy, add_thread, lease, touch


class RunUnfinished(ThreadBusy):
    """The thread has a run that is queued, runs, or waits for a human."""

    def __init__(self, thread_id: str, run: str, status: str) -> None:
        Exception.__init__(self, f"thread {thread_id} has an unfinished run ({run}, {status})")
        self.owner = ""


@dataclass(frozen=True)
class RunRow:
    """A run. Its status is `queued`, `running`, or that of its last `run.finished`.

    `started` is the time of its submission. `seconds` counts the time at work, without parks and crashes.
    """

    id: str
    thread_id: str
    input: dict[str, Any]
    status: str
    branch: str | None
    started: str
    finished: str | None
    seconds: float
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Any) -> "RunRow":
        """Read a row of runs."""
        values = row._asdict()
        del values["number"]
        input, limits = json.loads(row.input), json.loads(values.pop("limits"))
        if limits:  # a resume gave them
            input["options"] = {**(input.get("options") or {}), **limits}
        return cls(**{**values, "input": input, "metadata": json.loads(row.metadata)})

    @property
    def active(self) -> bool:
        """Return True if the run is queued or running."""
        return self.status in ACTIVE

    @property
    def unfinished(self) -> bool:
        """Return True if the run is queued, running or waiting."""
        return self.status in UNFINISHED

    @property
    def resumable(self) -> bool:
        """Return True if a resume could continue the run. Cancelled and failed runs are resumable."""
        return self.status not in FINAL


class Runs(Generic[E]):
    """All runs, with the events that must be stored together with their changes."""

    def __init__(self, database: Database, log: Events[E]) -> None:
        self._database = database
        self._log = log

    @transaction
    def submit(
        self,
        connection: Connection,
        run_id: str,
        thread_id: str,
        input: Mapping[str, Any],
        metadata: Mapping[str, Any],
        behind: bool,
    ) -> RunRow:
        """Queue a new run and create its thread if needed.

        Raises RunUnfinished if the thread has an unfinished run, unless the new one may queue `behind` it.
        """
        add_thread(self._database, connection, thread_id, str(input.get("repo") or ""))
        unfinished = connection.execute(_unfinished(thread_id)).first()
        if unfinished and not behind:
            raise RunUnfinished(thread_id, unfinished.id, unfinished.status)
        _insert(connection, run_id, thread_id, input, "queued", metadata)
        return RunRow.of(connection.execute(select(runs).where(runs.c.id == run_id)).one())

    @transaction
    def start(
        self,
        connection: Connection,
        run_id: str,
        thread_id: str,
        input: Mapping[str, Any],
        status: str = "running",
    ) -> None:
        """Store a new run that skips the queue."""
        _insert(connection, run_id, thread_id, input, status, {})

    @transaction
    def claim(self, connection: Connection, run_id: str, owner: str) -> bool:
        """Take a queued run and its thread's lease.

        False if the run is not queued any more, another run of its thread comes first, or the thread is held.
        """
        query = select(runs).where(runs.c.id == run_id, runs.c.status == "queued").with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None or connection.execute(_unfinished(row.thread_id)).one().id != run_id:
            return False
        try:
            # A process that is still stopping the thread's last run may hold the lease.
            lease(connection, row.thread_id, owner)
        except ThreadBusy:
            return False
        set_status(connection, run_id, "running")
        return True

    @read_only
    def queue(self, connection: Connection, limit: int) -> list[RunRow]:
        """Return the queued runs that are the first unfinished ones of their threads, oldest first."""
        # By number, because two runs may start in the same millisecond.
        before = runs.alias()
        blocked = exists().where(
            before.c.thread_id == runs.c.thread_id,
            before.c.number < runs.c.number,
            before.c.status.in_(UNFINISHED),
        )
        query = select(runs).where(runs.c.status == "queued", ~blocked).order_by(runs.c.number).limit(limit)
        return [RunRow.of(row) for row in connection.execute(query)]

    @transaction
    def resume(self, connection: Connection, run_id: str, status: Literal["queued", "running"]) -> None:
        """Queue a run that had parked, stopped or crashed, or set it to running."""
        set_status(connection, run_id, status)

    @transaction
    def set_limits(self, connection: Connection, run_id: str, limits: Mapping[str, Any]) -> None:
        """Replace some limits and models in a run's options, from its next model call on."""
        own = runs.c.id == run_id
        before = json.loads(connection.scalar(select(runs.c.limits).where(own)) or "{}")
        connection.execute(update(runs).where(own).values(limits=json.dumps(before | dict(limits))))

    @transaction
    def requeue_orphans(self, connection: Connection) -> list[str]:
        """Queue the runs that dead processes left running, and return their ids."""
        query = (
            select(runs.c.id, threads.c.owner, threads.c.heartbeat)
            .join(threads, threads.c.id == runs.c.thread_id)
            .where(runs.c.status == "running")
            .order_by(runs.c.number)
        )
        # Only Python can tell whether the owning process lives.
        orphans = [row.id for row in connection.execute(query).all() if not live_owner(row)]
        for run_id in orphans:
            set_status(connection, run_id, "queued")
        return orphans

    @transaction
    def withdraw(self, connection: Connection, run_id: str, draft: EventDraft) -> E | None:
        """Cancel a queued run, with its `run.finished`. None if it is not queued any more."""
        query = select(runs).where(runs.c.id == run_id, runs.c.status == "queued").with_for_update()
        row = connection.execute(query).one_or_none()
        return self._end(connection, row.thread_id, run_id, draft, "cancelled") if row else None

    def _end(
        self,
        connection: Connection,
        thread_id: str,
        run_id: str,
        draft: EventDraft,
        status: str,
        branch: str | None = None,
        waiting_for: Collection[str] = (),
    ) -> E | None:
        """Store how a run ended or parked, with its event. A branch that was stored before stays.

        None, and nothing is stored, if one of the approvals in `waiting_for` has been answered meanwhile.
        """
        answered = and_(
            approvals.c.run_id == run_id, approvals.c.id.in_(waiting_for), approvals.c.answer.is_not(None)
        )
        # Parking now would leave the answered run waiting for ever.
        if waiting_for and connection.execute(select(approvals.c.id).where(answered)).first():
            return None
        values = {"status": status, "finished": now(), **({"branch": branch} if branch else {})}
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))
        touch(connection, thread_id)
        (event,) = self._log.add(connection, thread_id, run_id, [draft])
        return event

    end = transaction(_end)

    @transaction
    def delete(self, connection: Connection, run_id: str) -> bool:
        """Remove an ended run from its thread's list. Its events and its branch stay. False for any other."""
        ended = and_(runs.c.id == run_id, runs.c.status.not_in(UNFINISHED))
        if connection.execute(delete(runs).where(ended)).rowcount == 0:
            return False
        # The log is append-only, so events and the notes in it stay.
        for of_runs in (completions, tool_calls, notes_seen, approvals):
            connection.execute(delete(of_runs).where(of_runs.c.run_id == run_id))
        return True

    @read_only
    def get(self, connection: Connection, run_id: str) -> RunRow | None:
        """Return a run, or None."""
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
        return RunRow.of(row) if row else None

    @read_only
    def current(self, connection: Connection, thread_id: str) -> RunRow | None:
        """Return the thread's first unfinished run, else its newest run, or None."""
        row = connection.execute(_unfinished(thread_id)).first()
        row = row or connection.execute(_newest_first(thread_id).limit(1)).first()
        return RunRow.of(row) if row else None

    @read_only
    def of_thread(self, connection: Connection, thread_id: str, limit: int = 100) -> list[RunRow]:
        """Return the thread's runs, newest first."""
        return [RunRow.of(row) for row in connection.execute(_newest_first(thread_id).limit(limit))]


def set_status(connection: Connection, run_id: str, status: str) -> None:
    """Set the status of a run that goes on."""
    change = update(runs).where(runs.c.id == run_id)
    connection.execute(change.values(status=status, finished=None))  # parking had set `finished`


def _insert(
    connection: Connection,
    run_id: str,
    thread_id: str,
    input: Mapping[str, Any],
    status: str,
    metadata: Mapping[str, Any],
) -> None:
    texts = {"input": json.dumps(dict(input)), "metadata": json.dumps(dict(metadata))}
    values = {"id": run_id, "thread_id": thread_id, "status": status, "started": now(), **texts}
    connection.execute(runs.insert().values(values))
    touch(connection, thread_id)


def _unfinished(thread_id: str) -> Select[Any]:
    """Select the thread's first unfinished run."""
    own = and_(runs.c.thread_id == thread_id, runs.c.status.in_(UNFINISHED))
    return select(runs).where(own).order_by(runs.c.number).limit(1)


def _newest_first(thread_id: str) -> Select[Any]:
    return select(runs).where(runs.c.thread_id == thread_id).order_by(runs.c.number.desc())
