"""The log as this process writes it: what is ready at the same time is one transaction; then readers hear."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from memory.records.journal import Entry, Journal, JournalError, Record
from nodes.events import EVENT, Event
from nodes.publish import Draft

WHOLE = ("run.finished", "approval.required", "plan")
"""Events that are never cut: proofs are counted, and nobody approves what they cannot see."""

GATHERING_SECONDS = 0.01
"""How long after a transaction began the next one may: what comes meanwhile shares it."""

Hear = Callable[[Sequence[Event]], None]


class Log:
    """Writes events of all threads, and tells `hear` of each once it is on disk."""

    def __init__(self, journal: Journal, hear: Hear = lambda events: None) -> None:
        self._journal = journal
        self.hear = hear
        self._waiting: list[tuple[list[Entry], asyncio.Future[list[Event]]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._next = 0.0

    async def write(self, thread_id: str, run_id: str, drafts: Iterable[Draft]) -> list[Event]:
        """Write drafts in their order; they are on disk when this returns, even if the asker is cancelled."""
        entries = [entry(thread_id, run_id, draft) for draft in drafts]
        if not entries:
            return []
        done: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await asyncio.shield(done)

    def tell(self, *records: Record) -> list[Event]:
        """Let readers hear of what the journal wrote by itself."""
        events = [EVENT.validate_python(vars(record)) for record in records]
        self.hear(events)
        return events

    async def _write(self) -> None:
        """Write until nothing waits: what comes before a transaction's time goes into it together."""
        clock = asyncio.get_running_loop().time
        try:
            while self._waiting:
                await asyncio.sleep(self._next - clock())
                self._next = clock() + GATHERING_SECONDS
                waiting, self._waiting = self._waiting, []
                try:
                    entries = [entry for entries, _ in waiting for entry in entries]
                    records = iter(await self._journal.append_all(entries))
                except JournalError as error:
                    for _, done in waiting:
                        _fail(done, error)
                    continue
                for entries, done in waiting:
                    written = [record for _, record in zip(entries, records, strict=False) if record]
                    if len(written) < len(entries):
                        _fail(done, JournalError(f"there is no thread {entries[0].thread_id} to write to"))
                    elif not done.done():
                        done.set_result(self.tell(*written))
        finally:
            self._writing = None


def entry(thread_id: str, run_id: str, draft: Draft) -> Entry:
    """A draft with the thread and run that it belongs to."""
    return Entry(
        thread_id, run_id, draft.type, draft.data.model_dump(), draft.node, draft.step_id, draft.type in WHOLE
    )


def _fail(done: "asyncio.Future[list[Event]]", error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()  # nobody may be left to hear it
