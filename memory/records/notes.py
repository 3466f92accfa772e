"""A user's notes to a run, and which of them each call of a model sees."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select

from memory.records.database import transaction
from memory.records.events import Log
from memory.records.rows import UNFINISHED, Entry, Record
from memory.records.tables import notes, notes_seen, runs

CALL = ("run_id", "agent", "step_id", "ordinal")
SEEN = select(notes_seen.c.upto).where(*(notes_seen.c[name] == bindparam(name) for name in CALL))
NEWEST = select(func.coalesce(func.max(notes.c.seq), 0)).where(notes.c.run_id == bindparam("run_id"))
SEE = notes_seen.insert()
TEXTS = (
    select(notes.c.text)
    .where(notes.c.run_id == bindparam("run_id"), notes.c.seq <= bindparam("upto"))
    .order_by(notes.c.seq)
)
"""Made once: SQLAlchemy takes longer over a statement than SQLite does."""


class Notes(Log):
    """What a call sees is fixed at its first asking, so that its prompt is the same after a crash."""

    @transaction
    def note(self, connection: Connection, thread_id: str, text: str) -> Record | None:
        """Write a note to the thread's unfinished run, as a `message` event; None when there is none."""
        active = and_(runs.c.thread_id == thread_id, runs.c.status.in_(UNFINISHED))
        run_id = connection.scalar(select(runs.c.id).where(active).order_by(runs.c.number).limit(1))
        if run_id is None:
            return None
        data: Mapping[str, Any] = {"role": "user", "text": text}
        record = self._append(connection, Entry(thread_id, run_id, "message", data))
        connection.execute(notes.insert().values(run_id=run_id, seq=record.seq, text=record.data["text"]))
        return record

    @transaction
    def notes_for(
        self, connection: Connection, run_id: str, agent: str, step: str, ordinal: int
    ) -> list[str]:
        """The notes that this call sees, in order: all there were when it was first made."""
        call = {"run_id": run_id, "agent": agent, "step_id": step, "ordinal": ordinal}
        upto = connection.scalar(SEEN, call)
        if upto is None:
            upto = connection.scalar(NEWEST, {"run_id": run_id})
            connection.execute(SEE, {**call, "upto": upto})
        return list(connection.scalars(TEXTS, {"run_id": run_id, "upto": upto}))
