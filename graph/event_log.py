"""The event log: open it, follow threads without gaps or repeats, and add users' notes."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress

from langgraph.checkpoint.base import BaseCheckpointSaver

from graph.errors import InputError, RunnerError, UnknownThread
from graph.settings import Settings
from memory.records.checkpoints import open_checkpointer
from memory.records.database import JournalError
from memory.records.journal import Journal
from memory.records.runs import RunRow
from nodes.events import EVENT, Event, MessageAdded
from nodes.publish import Draft

POLL_SECONDS = 0.2
"""Interval at which the database is read for events of other processes."""

BUFFER_EVENTS = 512
"""Events that a buffer keeps. A reader that is further behind reads pages from the database."""

PAGE_EVENTS, PAGE_CHARACTERS = 256, 256 * 1024
"""The most events and about the most characters of a page, of which each slow reader holds one."""

NOTE_CHARACTERS = 20_000


async def open_journal(settings: Settings) -> Journal[Event]:
    """Open the journal of the settings' database."""
    return await Journal.open(settings.database, EVENT.validate_python, settings.secrets())


def open_saver(settings: Settings) -> AbstractAsyncContextManager[BaseCheckpointSaver[str]]:
    """Open the checkpoints of the settings' database, which hold no known key."""
    return open_checkpointer(settings.database, settings.secrets())


class EventBuffer:
    """The newest events of one thread, shared by its readers."""

    def __init__(self, end: int) -> None:
        self.readers = 0
        self.end = end
        self.deleted = False
        self._events: deque[Event] = deque(maxlen=BUFFER_EVENTS)
        self.changed = asyncio.Event()

    def add(self, events: Sequence[Event]) -> bool:
        """Add the events that follow the end. Return False if a gap before them is left to the database."""
        for event in events:
            if event.seq == self.end + 1:
                self._events.append(event)
                self.end = event.seq
        self.wake()
        return not events or events[-1].seq <= self.end

    def after(self, seq: int) -> list[Event] | None:
        """Return the events after `seq`, or None if the buffer does not reach back so far."""
        if seq < self.end - len(self._events):
            return None
        count = self.end - seq
        return [self._events[at] for at in range(len(self._events) - count, len(self._events))]

    def wake(self) -> None:
        """Wake the readers."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class EventLog:
    """Passes events to the readers in this process, from the journal and from other processes."""

    def __init__(self, journal: Journal[Event]) -> None:
        self._journal = journal
        journal.events.subscribe(self._buffer_events)
        self._buffers: dict[str, EventBuffer] = {}
        self._polling: asyncio.Task[None] | None = None
        self._closed = False
        self._gap = asyncio.Event()

    async def note(self, thread_id: str, text: str) -> Event:
        """Write a user's note to a thread's unfinished run, wherever it runs.

        Every agent's next call sees it. Raises InputError, UnknownThread, and RunnerError if the thread has
        no unfinished run.
        """
        _check_note(text)
        if await self._journal.threads.get(thread_id) is None:
            raise UnknownThread(f"there is no thread {thread_id}")
        event = await self._journal.notes.add(thread_id, Draft(MessageAdded(role="user", text=text)))
        if event is None:
            raise RunnerError(f"thread {thread_id} has no unfinished run that could read a note; start a run")
        return event

    async def say(self, run: RunRow, text: str) -> Event:
        """Write a user's words to a run's log, where no agent reads them. Raises InputError."""
        _check_note(text)
        note = Draft(MessageAdded(role="user", text=text))
        (event,) = await self._journal.events.write(run.thread_id, run.id, [note])
        return event

    async def follow(
        self,
        thread_id: str,
        after: int = 0,
        run_id: str | None = None,
        ended: Callable[[], bool] = lambda: False,
    ) -> AsyncGenerator[Event, None]:
        """Yield the thread's events after `after`, then new ones as they come.

        With `run_id`, yield only that run's events, until it has ended or waits. Also ends if the thread is
        deleted, if the log closes, or if `ended` is true at a wake-up. Raises UnknownThread.
        """
        ends = await self._journal.events.ends([thread_id])
        if thread_id not in ends:
            raise UnknownThread(f"there is no thread {thread_id}")
        if run_id and await self._journal.events.exhausted(thread_id, run_id, after):
            return
        with self._buffer(thread_id, ends[thread_id]) as buffer:
            seq = after
            while True:
                events = buffer.after(seq)
                if events is None:
                    events = await self._journal.events.read(thread_id, seq, PAGE_EVENTS, PAGE_CHARACTERS)
                for event in events:
                    seq = event.seq
                    if run_id is None or event.run_id == run_id:
                        yield event
                        # A parked run may be resumed before its reader gets here: then more is to come.
                        parked = run_id and event.type == "run.finished"
                        if parked and await self._journal.events.exhausted(thread_id, event.run_id, seq):
                            return
                if not events and (buffer.deleted or self._closed or ended()):
                    return
                if not events:
                    await buffer.changed.wait()

    async def pages(self, thread_id: str, after: int = 0) -> AsyncGenerator[list[Event], None]:
        """Yield the thread's events after `after` that there are now, in pages."""
        log = self._journal.events
        end = (await log.ends([thread_id])).get(thread_id, 0)
        while after < end and (events := await log.read(thread_id, after, PAGE_EVENTS, PAGE_CHARACTERS)):
            after = events[-1].seq
            yield events

    def wake(self, thread_id: str) -> None:
        """Let the readers of a thread check whether they have ended."""
        if buffer := self._buffers.get(thread_id):
            buffer.wake()

    def close(self) -> None:
        """End all readers."""
        self._closed = True
        if self._polling:
            self._polling.cancel()
        for buffer in self._buffers.values():
            buffer.wake()

    def _buffer_events(self, events: Sequence[Event]) -> None:
        """Add events of one thread, stored by this process, to its buffer."""
        buffer = self._buffers.get(events[0].thread_id)
        if buffer and not buffer.add(events):
            self._gap.set()

    @contextmanager
    def _buffer(self, thread_id: str, end: int) -> Iterator[EventBuffer]:
        buffer = self._buffers.setdefault(thread_id, EventBuffer(end))
        buffer.readers += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield buffer
        finally:
            buffer.readers -= 1
            if not buffer.readers and self._buffers.get(thread_id) is buffer:
                del self._buffers[thread_id]

    async def _poll(self) -> None:
        """Fetch events of other processes, and those that arrived out of order, while somebody reads."""
        while self._buffers and not self._closed:
            self._gap.clear()
            with suppress(JournalError):  # the database may work again at the next poll
                await self._catch_up(dict(self._buffers))
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._gap.wait()

    async def _catch_up(self, buffers: Mapping[str, EventBuffer]) -> None:
        ends = await self._journal.events.ends(list(buffers))
        for thread_id, buffer in buffers.items():
            if thread_id not in ends:
                buffer.deleted = True
                buffer.wake()
            elif ends[thread_id] > buffer.end:
                buffer.add(await self._journal.events.read(thread_id, buffer.end, PAGE_EVENTS))


def _check_note(text: str) -> None:
    """Raise InputError for a note that is empty or too long."""
    if not text.strip():
        raise InputError("the note is empty")
    if len(text) > NOTE_CHARACTERS:
        raise InputError(f"the note is longer than {NOTE_CHARACTERS} characters; put the rest into a file")
