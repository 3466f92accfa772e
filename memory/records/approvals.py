"""Approvals that runs ask humans for, and the one answer that each of them gets."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal

from sqlalchemy import ColumnElement, Connection, and_, select, update

from memory.records.database import Database, read_only, transaction
from memory.records.events import E, EventDraft, Events
from memory.records.runs import set_status
from memory.records.tables import approvals, runs

Refusal = dict[str, Literal["unknown", "answered"]]


class Approvals(Generic[E]):
    """The approvals of all runs, by run and id."""

    def __init__(self, database: Database, log: Events[E]) -> None:
        self._database = database
        self._log = log

    @transaction
    def ask(
        self, connection: Connection, thread_id: str, run_id: str, id: str, draft: EventDraft
    ) -> E | None:
        """Store an approval with its event. None if it is stored already."""
        # A resumed graph raises again every interrupt that is still open.
        if not self._add(connection, thread_id, run_id, id):
            return None
        (event,) = self._log.add(connection, thread_id, run_id, [draft])
        return event

    @transaction
    def answer(
        self,
        connection: Connection,
        thread_id: str,
        run_id: str,
        answers: Mapping[str, Mapping[str, Any]],
        resumed: Mapping[str, int],
        drafts: Sequence[EventDraft],
    ) -> list[E] | Refusal:
        """Store answers with their events, all or none. Return the events, or the ids that are refused.

        `resumed` names the approvals that the graph waits for, and how many answers their tasks had before.
        A parked run is queued again.
        """
        # A process that died between the interrupt and its event left approvals that only a checkpoint names.
        for id in resumed:
            self._add(connection, thread_id, run_id, id)
        refused: Refusal = {}
        for id in answers:
            # The lock lets one of two answers at once win on PostgreSQL. SQLite has one writer anyway.
            query = select(approvals.c.answer).where(_approval(run_id, id)).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None or (row.answer is None and id not in resumed):
                refused[id] = "unknown"
            elif row.answer is not None:
                refused[id] = "answered"
        if refused:
            return refused
        for id, answer in answers.items():
            values = {"answer": json.dumps(dict(answer)), "resumed": resumed[id]}
            connection.execute(update(approvals).where(_approval(run_id, id)).values(values))
        events = self._log.add(connection, thread_id, run_id, drafts)
        # A run that has not parked yet sees the answer when it tries to: `Runs.end` refuses then.
        if connection.scalar(select(runs.c.status).where(runs.c.id == run_id)) != "running":
            set_status(connection, run_id, "queued")
        return events

    @read_only
    def answers(self, connection: Connection, run_id: str) -> dict[str, tuple[dict[str, Any], int]]:
        """Return the run's answers by id, each with the number of answers that its task had before."""
        query = select(approvals).where(approvals.c.run_id == run_id, approvals.c.answer.is_not(None))
        return {row.id: (json.loads(row.answer), row.resumed) for row in connection.execute(query)}

    def _add(self, connection: Connection, thread_id: str, run_id: str, id: str) -> bool:
        row = self._database.insert(approvals).values(run_id=run_id, id=id, thread_id=thread_id, resumed=0)
        return connection.execute(row.on_conflict_do_nothing(index_elements=["run_id", "id"])).rowcount == 1


def _approval(run_id: str, id: str) -> ColumnElement[bool]:
    return and_(approvals.c.run_id == run_id, approvals.c.id == id)
