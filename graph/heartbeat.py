"""Heartbeat of this process: it renews leases, counts active seconds and notices cancel requests."""

import asyncio
from dataclasses import dataclass, field

from memory.records.journal import Journal
from memory.records.threads import ThreadBusy
from nodes.events import Event

BEAT_SECONDS = 0.5
"""Half the second within which a cancel request takes effect."""


@dataclass
class Heartbeat:
    """Renews the leases of all runs of the process in one transaction."""

    journal: Journal[Event]
    owner: str
    _held: "dict[str, tuple[str, asyncio.Future[None]]]" = field(default_factory=dict)
    _beating: "asyncio.Task[None] | None" = None

    async def keep(self, thread_id: str, run_id: str) -> None:
        """Renew a thread's lease and count its run's active seconds. Return if a cancel is requested.

        Raises ThreadBusy if another process has taken the thread over.
        """
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held[thread_id] = (run_id, end)
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        try:
            await end
        finally:
            del self._held[thread_id]
            if not self._held:
                self._beating.cancel()
                self._beating = None

    async def _beat(self) -> None:
        while True:
            # A run that starts during the sleep waits for the next beat, or it would be paid a whole one.
            held = dict(self._held)
            await asyncio.sleep(BEAT_SECONDS)
            held = {thread: entry for thread, entry in held.items() if not entry[1].done()}
            ends: dict[str, Exception | None]
            try:
                runs = {thread: run for thread, (run, _) in held.items()}
                cancels = await self.journal.threads.renew(self.owner, runs, BEAT_SECONDS)
                ends = {thread: None for thread, is_requested in cancels.items() if is_requested}
                for thread in held.keys() - cancels:
                    row = await self.journal.threads.get(thread)
                    ends[thread] = ThreadBusy(thread, (row and row.owner) or "nobody")
            except Exception as error:  # ends the runs that wait for this beat, not the heartbeat
                ends = dict.fromkeys(held, error)
            for thread, failure in ends.items():
                end = held[thread][1]
                if failure and not end.done():
                    end.set_exception(failure)
                elif not end.done():
                    end.set_result(None)
