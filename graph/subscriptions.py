"""Following threads: a reader gets the log after a number, then the live tail; no gap, no repeat."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from graph.errors import UnknownThread
from memory.records.database import JournalError
from memory.records.journal import Journal
from nodes.events import Event

LOOK_SECONDS = 0.2
"""How often the database is asked for what other processes wrote."""

TAIL = 512
"""How many events a tail remembers; a reader that is further behind reads pages from the database."""

PAGE = 256


class Tail:
    """The newest events of one thread, shared by its readers."""

    def __init__(self) -> None:
        self.readers = 0
        self.end: int | None = None
        self.gone = False
        self._events: deque[Event] = deque(maxlen=TAIL)
        self._changed = asyncio.Event()

    def take(self, events: Sequence[Event]) -> bool:
        """Add what follows the end; False when that would leave a gap, which the database can fill."""
        for event in events:
            if self.end is not None and event.seq == self.end + 1:
                self._events.append(event)
                self.end = event.seq
        self.wake()
        return self.end is None or not events or events[-1].seq <= self.end

    def start(self, end: int) -> None:
        """Begin after `end`, unless it has begun."""
        if self.end is None:
            self.end = end

    def after(self, seq: int) -> list[Event] | None:
        """The events after `seq`; None when the tail does not reach back so far."""
        if self.end is None or seq < self.end - len(self._events):
            return None
        count = self.end - seq
        return [self._events[at] for at in range(len(self._events) - count, len(self._events))]

    def wake(self) -> None:
        """Let the readers look."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self) -> None:
        """Wait until there is something new."""
        await self._changed.wait()


class Tails:
    """The tails of all threads that somebody follows."""

    def __init__(self, journal: Journal[Event]) -> None:
        self._journal = journal
        journal.events.subscribe(self._hear)
        self._tails: dict[str, Tail] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        self._gap = asyncio.Event()

    def _hear(self, events: Sequence[Event]) -> None:
        """Pass on what this process has just written; all of one thread."""
        tail = self._tails.get(events[0].thread_id) if events else None
        if tail and not tail.take(events):
            self._gap.set()

    async def follow(self, thread_id: str, after: int = 0, run_id: str | None = None) -> AsyncIterator[Event]:
        """The events after `after`; with `run_id`, that run's alone, until nothing of it is to come.

        Ends when the thread is deleted or this process closes. Raises UnknownThread.
        """
        ends = await self._journal.events.ends([thread_id])
        if thread_id not in ends:
            raise UnknownThread(f"there is no thread {thread_id}")
        if run_id and await self._journal.events.exhausted(thread_id, run_id, after):
            return
        with self._tail(thread_id, ends[thread_id]) as tail:
            seq = after
            while True:
                events = tail.after(seq)
                if events is None:
                    events = await self._journal.events.read(thread_id, seq, PAGE)
                for event in events:
                    seq = event.seq
                    if run_id is None or event.run_id == run_id:
                        yield event
                        if run_id and event.type == "run.finished" and await self._over(event):
                            return
                if not events and (tail.gone or self._closed):
                    return
                if not events:
                    await tail.change()

    async def _over(self, end: Event) -> bool:
        return await self._journal.events.exhausted(end.thread_id, end.run_id, end.seq)

    def close(self) -> None:
        """End all readers."""
        self._closed = True
        if self._looking:
            self._looking.cancel()
        for tail in self._tails.values():
            tail.wake()

    @contextmanager
    def _tail(self, thread_id: str, end: int) -> Iterator[Tail]:
        tail = self._tails.setdefault(thread_id, Tail())
        tail.start(end)
        tail.readers += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            yield tail
        finally:
            tail.readers -= 1
            if not tail.readers and self._tails.get(thread_id) is tail:
                del self._tails[thread_id]

    async def _look(self) -> None:
        """Bring what other processes wrote, and what overtook in this one, while somebody follows."""
        while self._tails and not self._closed:
            self._gap.clear()
            with suppress(JournalError):  # the next look may find the database well again
                await self._catch_up(dict(self._tails))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._gap.wait()

    async def _catch_up(self, tails: Mapping[str, Tail]) -> None:
        ends = await self._journal.events.ends(list(tails))
        for thread_id, tail in tails.items():
            if thread_id not in ends:
                tail.gone = True
                tail.wake()
            elif tail.end is not None and ends[thread_id] > tail.end:
                tail.take(await self._journal.events.read(thread_id, tail.end, PAGE))
