"""A user's notes to a run, and which of them each call of a model sees."""

from collections.abc import Callable
from typing import Generic

from sqlalchemy import Connection, and_, func, select

from memory.records.database import Database, read_only, transaction
from memory.records.events import E, EventDraft, Events
from memory.records.tables import UNFINISHED, events, notes, notes_seen, runs


class Notes(Generic[E]):
    """The notes of all runs."""

    def __init__(self, database: Database, log: Events[E]) -> None:
        self._database = database
        self._log = log

    @transaction
    def add(self, connection: Connection, thread_id: str, draft: EventDraft) -> E | None:
        """Store a note to the thread's unfinished run, with its event. None if there is no such run.

        `draft` is a `message` event, whose data has the note as `text`.
        """
        unfinished = and_(runs.c.thread_id == thread_id, runs.c.status.in_(UNFINISHED))
        run_id = connection.scalar(select(runs.c.id).where(unfinished).order_by(runs.c.number).limit(1))
        if run_id is None:
            return None
        (event,) = self._log.add(connection, thread_id, run_id, [draft])
        # The event's own text may be cut.
        text = self._log.mask(draft.data.model_dump()["text"])
        connection.execute(notes.insert().values(run_id=run_id, seq=event.seq, text=text))
        return event

    @read_only
    def of_run(self, connection: Connection, run_id: str) -> list[str]:
        """Return all notes to a run, in order."""
        texts = select(notes.c.text).where(notes.c.run_id == run_id)
        return list(connection.scalars(texts.order_by(notes.c.seq)))

    @read_only
    def until(self, connection: Connection, run_id: str, time: str) -> list[str]:
        """Return the notes that a run had got at a time, as events write it, in order."""
        of_event = and_(events.c.run_id == notes.c.run_id, events.c.seq == notes.c.seq)
        texts = select(notes.c.text).join(events, of_event)
        before = texts.where(notes.c.run_id == run_id, events.c.ts <= time)
        return list(connection.scalars(before.order_by(notes.c.seq)))

    @transaction
    def for_call(
        self,
        connection: Connection,
        run_id: str,
        agent: str,
        step: str,
        ordinal: int,
        draft_of: Callable[[list[int]], EventDraft] | None = None,
    ) -> list[str]:
        """Return the notes for a call, in order: those that existed when it was first made.

        A resumed run repeats the call with the same notes, so its prompt matches the stored reply. `draft_of`
        makes the event of the notes that the step reads for the first time, by their numbers in the log.
        """
        call = {"run_id": run_id, "agent": agent, "step_id": step, "ordinal": ordinal}
        seen = and_(*(notes_seen.c[name] == value for name, value in call.items()))
        upto = connection.scalar(select(notes_seen.c.upto).where(seen))
        if upto is None:
            newest = select(func.coalesce(func.max(notes.c.seq), 0)).where(notes.c.run_id == run_id)
            upto = connection.scalar(newest)
            own = and_(*(notes_seen.c[name] == call[name] for name in ("run_id", "agent", "step_id")))
            before = connection.scalar(select(func.coalesce(func.max(notes_seen.c.upto), 0)).where(own))
            connection.execute(notes_seen.insert().values(**call, upto=upto))
            unread = and_(notes.c.run_id == run_id, notes.c.seq > before, notes.c.seq <= upto)
            fresh = list(connection.scalars(select(notes.c.seq).where(unread).order_by(notes.c.seq)))
            if fresh and draft_of:
                thread_id = connection.scalar(select(runs.c.thread_id).where(runs.c.id == run_id))
                self._log.add(connection, str(thread_id), run_id, [draft_of(fresh)])
        texts = select(notes.c.text).where(notes.c.run_id == run_id, notes.c.seq <= upto)
        return list(connection.scalars(texts.order_by(notes.c.seq)))
