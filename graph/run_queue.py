"""The queue of runs: this process claims runs from it while there is room, and runs each in a task."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from graph.driver import Driver, Ending, Ready
from graph.run_request import repository_bounds
from graph.settings import Settings
from memory.records.database import JournalError
from memory.records.journal import Journal
from memory.records.runs import RunRow
from nodes.events import Event
from tools.workspace.opening import bounded

POLL_SECONDS = 1.0
"""Interval at which the queue is read for runs whose threads other processes have released."""


@dataclass
class RunQueue:
    """Runs that wait in the database, and those that this process runs, at most `limit` at a time.

    `ready` is awaited as a queued run's first work. `on_end` receives each run, and its error if it failed.
    """

    journal: Journal[Event]
    owner: str
    limit: int
    driver_of: Callable[[RunRow], Driver]
    ready: Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]]
    on_end: Callable[[RunRow, Exception | None], None]
    held_back: set[str] = field(default_factory=set)
    closed: bool = False
    _bounds: Sequence[Path] = ()
    _drivers: dict[str, Driver] = field(default_factory=dict)
    _tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    def __contains__(self, run_id: str) -> bool:
        """Return True for a run that is active in this process."""
        return run_id in self._tasks

    def hold_to_bounds(self, settings: Settings) -> None:
        """Let no run open a repository outside AUTOCODE_REPOS. A command has the rights of its user."""
        self._bounds = repository_bounds(settings)

    async def claim(self) -> None:
        """Claim and start queued runs while there is room, oldest first."""
        async with self._claiming:
            room = self.limit - len(self._tasks)
            if room <= 0 or self.closed:
                return
            # A run that parks with an answer at hand is queued again while its task still cleans up.
            skipped = self.held_back | self._tasks.keys()
            for run in await self.journal.runs.queue(room + len(skipped)):
                if room and run.id not in skipped and await self.journal.runs.claim(run.id, self.owner):
                    room -= 1
                    self.start(run, partial(self.ready, run.input))

    async def poll(self, say: Callable[[str], None]) -> None:
        """Claim runs whenever one ends here, and every POLL_SECONDS. `say` receives database errors."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._freed.wait()
            self._freed.clear()
            try:
                await self.claim()
            except JournalError as error:
                say(str(error))

    def start(self, run: RunRow, ready: Ready | None = None) -> None:
        """Start a run whose thread's lease this process holds."""
        self._drivers[run.id] = self.driver_of(run)
        self._tasks[run.id] = asyncio.create_task(self._run(run, ready))

    async def at_work(self, run: RunRow) -> bool:
        """Return True for a run that goes on without a resume: queued, or at work in a live process."""
        thread = await self.journal.threads.get(run.thread_id)
        alive = run.status == "running" and thread is not None and thread.owner is not None
        return alive or (run.status == "queued" and run.id not in self.held_back)

    async def wait(self, run_id: str) -> None:
        """Wait until a run is not active in this process."""
        if task := self._tasks.get(run_id):
            await asyncio.wait((task,))

    def stop(self, run_id: str, ending: Ending) -> bool:
        """Ask a run to stop. Return False if it is not active in this process."""
        if driver := self._drivers.get(run_id):
            driver.stop(ending)
        return driver is not None

    async def stop_all(self, ending: Ending) -> None:
        """Stop all active runs and wait for their ends."""
        for driver in self._drivers.values():
            driver.stop(ending)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _run(self, run: RunRow, ready: Ready | None) -> None:
        failure: Exception | None = None
        try:
            resumed = await self.journal.events.has_started(run.thread_id, run.id)
            if resumed:
                await self.journal.completions.abandon_all(run.id)
            with bounded(self._bounds):
                await self._drivers[run.id].drive(resumed, ready)
        except Exception as error:  # on_end passes it to whoever waits for the run
            failure = error
        finally:
            del self._drivers[run.id]
            with suppress(JournalError):  # a lease that cannot be given back expires
                await self.journal.threads.release(run.thread_id, self.owner)
            del self._tasks[run.id]  # before on_end, whose readers must find the run inactive
            self._freed.set()
            self.on_end(run, failure)
