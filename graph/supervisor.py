"""The long-lived process's face to all threads: runs go on in its background, whoever listens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from langgraph.types import StateSnapshot

from graph import thread_state as states
from graph.approvals import Answers
from graph.delivery import Delivery, delivery
from graph.driver import PARKED, Driver, Ending
from graph.errors import RunnerError, UnknownThread
from graph.fork import fork
from graph.notes import note
from graph.pace import Pace
from graph.run_request import completed, named, opened, scratch
from graph.runner import Runner
from graph.settings import Settings
from graph.subscriptions import Tails
from memory.records.database import JournalError
from memory.records.journal import Journal
from memory.records.runs import RunRow, RunUnfinished
from nodes.events import ApprovalRequired, Event, RunFinished
from nodes.publish import Draft
from nodes.state import Input

Strategy = Literal["reject", "enqueue", "interrupt"]

LOOK_SECONDS = 1.0
"""How often the queue is looked at for runs whose threads other processes have let go."""

WITHDRAWN = Ending.of("cancelled", "cancelled before it began")
CANCELLED = Ending.of("cancelled", "cancelled by the user")
INTERRUPTED = Ending.of("cancelled", "another run took its place")


@dataclass
class Supervisor:
    """Queues, starts, stops and follows runs. Whatever it returns is durable."""

    runner: Runner
    tails: Tails
    say: Callable[[str], None]
    _drivers: dict[str, Driver] = field(default_factory=dict)
    _tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _held_back: set[str] = field(default_factory=set)
    _pumping: asyncio.Lock = field(default_factory=asyncio.Lock)
    _pace: Pace = field(default_factory=Pace)
    _closing: bool = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, say: Callable[[str], None] = lambda line: None
    ) -> AsyncIterator["Supervisor"]:
        """Open the database; runs that a stop or a crash left behind go on, if RESUME_ON_START says so."""
        async with AsyncExitStack() as stack:
            runner = await stack.enter_async_context(Runner.open(settings, say))
            tails = Tails(runner.journal)
            supervisor = cls(runner, tails, say)
            await supervisor._begin(settings.resume_on_start)
            looking = asyncio.create_task(supervisor._look())
            stack.push_async_callback(supervisor.aclose)
            stack.callback(looking.cancel)
            yield supervisor

    @property
    def journal(self) -> Journal[Event]:
        """Threads, runs and the log."""
        return self.runner.journal

    async def submit(
        self,
        input: Input,
        thread_id: str | None = None,
        *,
        strategy: Strategy = "reject",
        metadata: Mapping[str, Any] | None = None,
        if_not_exists: Literal["create", "reject"] = "create",
    ) -> RunRow:
        """Queue a run and start it if there is room; without `repo` it gets the thread's, or a scratch one.

        `strategy` says what becomes of a thread's unfinished run. Raises InputError before anything is
        written, UnknownThread, and ThreadBusy where the thread has an unfinished run.
        """
        thread_id = named(thread_id or str(uuid4()))
        thread = await self.journal.threads.get(thread_id)
        if thread is None and if_not_exists == "reject":
            raise UnknownThread(f"there is no thread {thread_id}")
        home = scratch(self.runner.settings, thread_id)
        task = completed(input, self.runner.settings, (thread and thread.repo) or str(home))
        unfinished = await self.journal.runs.current(thread_id)
        if strategy == "reject" and unfinished and unfinished.unfinished:
            raise RunUnfinished(thread_id, unfinished.id, unfinished.status)
        task = await opened(task, home)
        if strategy == "interrupt":
            await self._clear(thread_id)
        behind = strategy == "enqueue"
        run = await self.journal.runs.submit(str(uuid4()), thread_id, task, metadata or {}, behind)
        await self._pump()
        return await self.run(run.id)

    async def resume(self, thread_id: str, answers: Answers | None = None) -> RunRow:
        """Go on with a thread's run; `answers` answer some or all of what it waits for.

        Raises InputError, UnknownApproval, AnsweredApproval; RunnerError where nothing can go on without an
        answer; ThreadBusy where the run is at work and no answer is given.
        """
        run = await self.runner.unfinished(thread_id)
        if answers:
            await self.runner.approvals.answer(run, answers)
        elif await self._at_work(run):
            raise RunUnfinished(thread_id, run.id, run.status)
        elif pending := await self.runner.approvals.pending(run):
            ids = ", ".join(one.id for one in pending)
            raise RunnerError(f"thread {thread_id} waits for answers: {ids}; give one, or cancel the run")
        else:
            await self.journal.runs.requeue(run.id)
        self._held_back.discard(run.id)
        await self._pump()
        return await self.run(run.id)

    async def cancel(self, thread_id: str, run_id: str | None = None, *, wait: bool = True) -> bool:
        """Stop a thread's run, or take it from the queue; True when there was one. It stays resumable."""
        run = await self.journal.runs.get(run_id) if run_id else await self.journal.runs.current(thread_id)
        if run is None or run.thread_id != thread_id:
            raise UnknownThread(f"there is no run {run_id or 'on thread'} {thread_id}")
        return await self._cancel(run, CANCELLED, wait)

    def follow(self, thread_id: str, after: int = 0, run_id: str | None = None) -> AsyncIterator[Event]:
        """The thread's log after `after`, then the live tail, as `Tails.follow` has it."""
        return self.tails.follow(thread_id, after, run_id)

    async def wait(self, run_id: str) -> RunRow:
        """The run once it has ended or parked, wherever it runs."""
        while True:
            run = await self.run(run_id)
            task = self._tasks.get(run_id)
            if task:
                await asyncio.wait((task,))
            elif not run.active:
                return run
            else:
                async for _ in self.follow(run.thread_id, await self._end(run.thread_id), run_id):
                    pass
                if self._closing:
                    return await self.run(run_id)

    async def note(self, thread_id: str, text: str) -> Event:
        """Tell a running or waiting task something; the next call of an agent sees it."""
        return await note(self.journal, thread_id, text)

    async def pending(self, thread_id: str) -> list[ApprovalRequired]:
        """What the thread waits for."""
        return await self.runner.pending(thread_id)

    async def state(self, thread_id: str, checkpoint_id: str | None = None) -> StateSnapshot:
        """The graph's state at a checkpoint, else the newest."""
        return await states.state(self.runner, thread_id, checkpoint_id)

    async def history(
        self, thread_id: str, limit: int = 10, before: str | None = None
    ) -> list[StateSnapshot]:
        """The states at the thread's checkpoints, newest first."""
        return await states.history(self.runner, thread_id, limit, before)

    async def update_state(self, thread_id: str, values: Mapping[str, Any]) -> StateSnapshot:
        """Add `messages` to a thread that nothing runs on; nothing else can be set."""
        return await states.update(self.runner, thread_id, values)

    async def fork(self, thread_id: str, checkpoint_id: str | None = None) -> str:
        """A new thread that stands where this one stood; a run under way there waits to be resumed."""
        return await fork(self.runner, thread_id, checkpoint_id)

    async def delete(self, thread_id: str) -> None:
        """Forget a thread; the branches that it delivered stay. Raises ThreadBusy while it runs."""
        thread = await self.journal.threads.get(thread_id)
        if thread is None:
            raise UnknownThread(f"there is no thread {thread_id}")
        await self.runner.forget(thread_id, thread.repo)

    async def delivery(self, run_id: str) -> Delivery | None:
        """The files and the diff that a run delivered."""
        return await delivery(await self.run(run_id))

    async def run(self, run_id: str) -> RunRow:
        """One run. Raises UnknownThread."""
        run = await self.journal.runs.get(run_id)
        if run is None:
            raise UnknownThread(f"there is no run {run_id}")
        return run

    async def recover(self) -> list[str]:
        """Let the runs go on that a stop or a crash left behind; gives the ids of those that had crashed."""
        self._held_back.clear()
        orphans = await self.journal.runs.requeue_orphans()
        await self._pump()
        return orphans

    async def aclose(self) -> None:
        """Park what runs, so that it goes on with the next start, and end all readers."""
        self._closing = True
        for driver in list(self._drivers.values()):
            driver.stop(PARKED)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        self.tails.close()

    async def _begin(self, resume: bool) -> None:
        if resume:
            await self.recover()
        else:
            self._held_back = {run.id for run in await self.journal.runs.queue(100_000)}

    async def _pump(self) -> None:
        """Start queued runs while there is room."""
        async with self._pumping:
            room = self.runner.settings.max_concurrent_runs - len(self._tasks)
            if room <= 0 or self._closing:
                return
            for run in await self.journal.runs.queue(room + len(self._held_back) + len(self._tasks)):
                if room <= 0 or run.id in self._held_back or run.id in self._tasks:
                    continue
                if await self.journal.runs.claim(run.id, self.runner.pulse.owner):
                    room -= 1
                    self._tasks[run.id] = asyncio.create_task(self._carry(run))

    async def _carry(self, run: RunRow) -> None:
        """Carry a run that this process has claimed to its end or park; the log tells what came of it."""
        driver = self._drivers[run.id] = self.runner.driver(run)
        try:
            resumed = await self.journal.events.has_started(run.thread_id, run.id)
            if resumed:
                await self.journal.completions.abandon_all(run.id)
            async for _ in driver.drive(resumed, partial(self._ready, run.input["repo"])):
                pass
        except Exception as error:
            self.say(f"run {run.id} on thread {run.thread_id}: {error}")
        finally:
            del self._drivers[run.id]
            with suppress(JournalError):  # a lease that cannot be given back runs out
                await self.journal.threads.release(run.thread_id, self.runner.pulse.owner)
            del self._tasks[run.id]
        await self._look_now()

    async def _ready(self, repo: str) -> None:
        """Let a run begin when its turn has come and what it needs is there."""
        await self._pace.turn(len(self._tasks))
        await self.runner.ready(repo)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look_now()

    async def _look_now(self) -> None:
        """Look at the queue; a database that fails is looked at again later."""
        try:
            await self._pump()
        except JournalError as error:
            self.say(str(error))

    async def _cancel(self, run: RunRow, ending: Ending, wait: bool) -> bool:
        if run.status == "queued":
            if await self.journal.runs.withdraw(run.id, Draft(RunFinished(**WITHDRAWN.data))):
                return True
            run = await self.run(run.id)
        if driver := self._drivers.get(run.id):
            task = self._tasks[run.id]
            driver.stop(ending)
            if wait:
                await asyncio.wait((task,))
            return True
        if run.status not in ("running", "waiting"):
            return False
        stopped = await self.runner.cancel(run.thread_id)
        if stopped and wait:
            await self.wait(run.id)
        return stopped

    async def _at_work(self, run: RunRow) -> bool:
        """True for a run that goes on by itself: queued, or carried by a live process."""
        thread = await self.journal.threads.get(run.thread_id)
        alive = run.status == "running" and thread is not None and thread.owner is not None
        return alive or (run.status == "queued" and run.id not in self._held_back)

    async def _clear(self, thread_id: str) -> None:
        """End every unfinished run of a thread."""
        for run in reversed(await self.journal.runs.of_thread(thread_id)):
            if run.unfinished:
                await self._cancel(run, INTERRUPTED, wait=True)

    async def _end(self, thread_id: str) -> int:
        return (await self.journal.events.ends([thread_id])).get(thread_id, 0)
