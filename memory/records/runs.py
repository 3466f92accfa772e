"""Runs: submitted, queued, claimed by one process, parked, ended; with the events that tell it."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, select, update

from memory.records.database import transaction, view
from memory.records.events import Log
from memory.records.rows import UNFINISHED, Entry, Record, RunRow, RunUnfinished, ThreadBusy, live_owner, now
from memory.records.tables import approvals, completions, notes_seen, runs, threads
from memory.records.threads import Threads, lease, touch

FIRST_UNFINISHED = (
    select(runs)
    .where(runs.c.thread_id == bindparam("thread"), runs.c.status.in_(UNFINISHED))
    .order_by(runs.c.number)
    .limit(1)
)


class Runs(Threads, Log):
    """All runs."""

    @transaction
    def submit_run(
        self,
        connection: Connection,
        run_id: str,
        thread_id: str,
        input: Mapping[str, Any],
        metadata: Mapping[str, Any],
        behind: bool,
    ) -> RunRow:
        """Queue a new run, creating its thread. RunUnfinished where one is unfinished and not `behind` it."""
        self._add(connection, thread_id, str(input.get("repo") or ""))
        unfinished = connection.execute(FIRST_UNFINISHED, {"thread": thread_id}).one_or_none()
        if unfinished and not behind:
            raise RunUnfinished(thread_id, unfinished.id, unfinished.status)
        self._insert(connection, run_id, thread_id, input, "queued", metadata)
        touch(connection, thread_id)
        return RunRow.of(connection.execute(select(runs).where(runs.c.id == run_id)).one())

    @transaction
    def start_run(
        self,
        connection: Connection,
        run_id: str,
        thread_id: str,
        input: Mapping[str, Any],
        status: str = "running",
    ) -> None:
        """Note a new run."""
        self._insert(connection, run_id, thread_id, input, status, {})
        touch(connection, thread_id)

    @transaction
    def claim(self, connection: Connection, run_id: str, owner: str) -> bool:
        """Take a queued run and its thread's lease; False when it is not its turn, or somebody else's."""
        query = select(runs).where(runs.c.id == run_id, runs.c.status == "queued").with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None or connection.execute(FIRST_UNFINISHED, {"thread": row.thread_id}).one().id != run_id:
            return False
        try:
            lease(connection, row.thread_id, owner)
        except ThreadBusy:
            return False
        self._continue(connection, run_id, "running")
        return True

    @view
    def queue(self, connection: Connection, limit: int) -> list[RunRow]:
        """The queued runs that no unfinished run of their thread is before, oldest first."""
        before = runs.alias()
        blocked = exists().where(
            before.c.thread_id == runs.c.thread_id,
            before.c.number < runs.c.number,
            before.c.status.in_(UNFINISHED),
        )
        query = select(runs).where(runs.c.status == "queued", ~blocked).order_by(runs.c.number).limit(limit)
        return [RunRow.of(row) for row in connection.execute(query)]

    @transaction
    def requeue(self, connection: Connection, run_id: str) -> None:
        """Queue a run again, so that it goes on where it was."""
        self._continue(connection, run_id, "queued")

    @transaction
    def requeue_orphans(self, connection: Connection) -> list[str]:
        """Queue the runs that dead processes left running; gives their ids."""
        query = (
            select(runs.c.id, threads.c.owner, threads.c.heartbeat)
            .join(threads, threads.c.id == runs.c.thread_id)
            .where(runs.c.status == "running")
            .order_by(runs.c.number)
        )
        orphans = [row.id for row in connection.execute(query).all() if not live_owner(row)]
        for run_id in orphans:
            self._continue(connection, run_id, "queued")
        return orphans

    @transaction
    def withdraw(self, connection: Connection, run_id: str, data: Mapping[str, Any]) -> Record | None:
        """End a run that is queued, with its `run.finished`; None when it is not queued any more."""
        query = select(runs).where(runs.c.id == run_id, runs.c.status == "queued").with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        self._finish(connection, run_id, "cancelled", None)
        return self._append(connection, Entry(row.thread_id, run_id, "run.finished", data))

    @transaction
    def continue_run(self, connection: Connection, run_id: str) -> None:
        """Note that a run that had parked, stopped or crashed goes on."""
        self._continue(connection, run_id, "running")

    @transaction
    def finish_run(self, connection: Connection, run_id: str, status: str, branch: str | None = None) -> None:
        """Note how a run ended or parked; a branch that was noted before stays."""
        self._finish(connection, run_id, status, branch)

    @transaction
    def end_run(
        self,
        connection: Connection,
        entry: Entry,
        status: str,
        branch: str | None = None,
        waiting_for: Collection[str] = (),
    ) -> Record | None:
        """Note how a run ended or parked, with the event that tells it.

        None, and nothing is noted, when one of the approvals that it waits for was answered meanwhile.
        """
        answered = and_(
            approvals.c.run_id == entry.run_id,
            approvals.c.id.in_(waiting_for),
            approvals.c.answer.is_not(None),
        )
        if waiting_for and connection.execute(select(approvals.c.id).where(answered)).first():
            return None
        self._finish(connection, entry.run_id, status, branch)
        return self._append(connection, entry)

    @transaction
    def forget_run(self, connection: Connection, run_id: str) -> bool:
        """Take an ended run off its thread's list; its events and its branch stay. False for any other."""
        ended = and_(runs.c.id == run_id, runs.c.status.not_in(UNFINISHED))
        if connection.execute(delete(runs).where(ended)).rowcount == 0:
            return False
        for of_runs in (completions, notes_seen, approvals):
            connection.execute(delete(of_runs).where(of_runs.c.run_id == run_id))
        return True

    @view
    def run(self, connection: Connection, run_id: str) -> RunRow | None:
        """One run, or None."""
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
        return RunRow.of(row) if row else None

    @view
    def last_run(self, connection: Connection, thread_id: str) -> RunRow | None:
        """The thread's newest run, or None."""
        newest = select(runs).where(runs.c.thread_id == thread_id).order_by(runs.c.number.desc()).limit(1)
        row = connection.execute(newest).one_or_none()
        return RunRow.of(row) if row else None

    @view
    def current_run(self, connection: Connection, thread_id: str) -> RunRow | None:
        """The thread's first unfinished run, else its newest, or None."""
        row = connection.execute(FIRST_UNFINISHED, {"thread": thread_id}).one_or_none()
        if row is None:
            newest = select(runs).where(runs.c.thread_id == thread_id).order_by(runs.c.number.desc())
            row = connection.execute(newest.limit(1)).one_or_none()
        return RunRow.of(row) if row else None

    @view
    def runs(
        self,
        connection: Connection,
        thread_id: str,
        limit: int = 100,
        offset: int = 0,
        status: str | None = None,
    ) -> list[RunRow]:
        """The thread's runs, newest first."""
        query = select(runs).where(runs.c.thread_id == thread_id).order_by(runs.c.number.desc())
        if status:
            query = query.where(runs.c.status == status)
        return [RunRow.of(row) for row in connection.execute(query.limit(limit).offset(offset))]

    def _insert(
        self,
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

    def _continue(self, connection: Connection, run_id: str, status: str) -> None:
        values = {"status": status, "finished": None}
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))

    def _finish(self, connection: Connection, run_id: str, status: str, branch: str | None) -> None:
        values = {"status": status, "finished": now(), **({"branch": branch} if branch else {})}
        done = update(runs).where(runs.c.id == run_id).values(values).returning(runs.c.thread_id)
        touch(connection, connection.scalar(done) or "")
