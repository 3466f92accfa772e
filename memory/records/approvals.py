"""Approvals: what runs have asked humans, and the answers, of which each question gets one."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import Connection, and_, select, update

from memory.records.database import transaction, view
from memory.records.rows import Entry, Record
from memory.records.runs import Runs
from memory.records.tables import approvals, runs

Refusal = dict[str, Literal["unknown", "answered"]]


class Approvals(Runs):
    """Questions by run and id."""

    @transaction
    def ask(self, connection: Connection, entry: Entry, id: str) -> Record | None:
        """Note a question with the event that tells it; None when it has been asked already."""
        if not self._asked(connection, entry.thread_id, entry.run_id, id):
            return None
        return self._append(connection, entry)

    @transaction
    def answer(
        self,
        connection: Connection,
        thread_id: str,
        run_id: str,
        answers: Mapping[str, Mapping[str, Any]],
        resumed: Mapping[str, int],
    ) -> list[Record] | Refusal:
        """Store answers, all or none, with an `approval.resolved` each; or say which ids cannot be answered.

        `resumed` names the questions that the graph waits for, with how many answers their tasks had before.
        A run that was parked is queued.
        """
        refused: Refusal = {}
        for id in resumed:
            self._asked(connection, thread_id, run_id, id)
        for id in answers:
            query = select(approvals.c.answer).where(_one(run_id, id)).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None or (row.answer is None and id not in resumed):
                refused[id] = "unknown"
            elif row.answer is not None:
                refused[id] = "answered"
        if refused:
            return refused
        records = []
        for id, answer in answers.items():
            values = {"answer": json.dumps(dict(answer)), "resumed": resumed[id]}
            connection.execute(update(approvals).where(_one(run_id, id)).values(values))
            told = {"id": id, "decision": answer["decision"], "reason": answer.get("reason")}
            records.append(self._append(connection, Entry(thread_id, run_id, "approval.resolved", told)))
        parked = connection.scalar(select(runs.c.status).where(runs.c.id == run_id)) != "running"
        if parked:
            self._continue(connection, run_id, "queued")
        return records

    @view
    def answers(self, connection: Connection, run_id: str) -> dict[str, tuple[dict[str, Any], int]]:
        """The run's answers by id, with how many answers their tasks had before."""
        query = select(approvals).where(approvals.c.run_id == run_id, approvals.c.answer.is_not(None))
        return {row.id: (json.loads(row.answer), row.resumed) for row in connection.execute(query)}

    def _asked(self, connection: Connection, thread_id: str, run_id: str, id: str) -> bool:
        new = self._database.insert(approvals).values(run_id=run_id, id=id, thread_id=thread_id, resumed=0)
        return connection.execute(new.on_conflict_do_nothing(index_elements=["run_id", "id"])).rowcount == 1


def _one(run_id: str, id: str) -> Any:
    return and_(approvals.c.run_id == run_id, approvals.c.id == id)
