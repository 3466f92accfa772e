"""The supervisor: the one way to start, resume, cancel, answer, fork and follow runs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from langgraph.checkpoint.base import BaseCheckpointSaver

from graph.approvals import NOBODY, Answerer, AnswersById, PendingApprovals
from graph.builder import Graph, Resources, build
from graph.driver import ABANDONED, CANCELLED, INTERRUPTED, PARKED, STOPPED, WITHDRAWN, Driver, Ending
from graph.errors import RunnerError, UnknownRun
from graph.event_log import EventLog, open_journal, open_saver
from graph.heartbeat import Heartbeat
from graph.resources import check_ready, open_resources
from graph.run_queue import RunQueue
from graph.run_request import (
    check_models,
    check_thread_id,
    complete_request,
    merge_options,
    open_repository,
    raise_limits,
    scratch_folder,
    with_limits,
)
from graph.settings import Settings
from graph.thread_history import ThreadHistory
from memory.records.journal import Journal
from memory.records.owner import this_process
from memory.records.runs import RunRow, RunUnfinished
from nodes.dialogue.answers import spoken_answer
from nodes.events import ApprovalRequired, Event, RunFinished
from nodes.publish import Draft
from nodes.state import Input

Strategy = Literal["reject", "enqueue", "interrupt"]
BuildGraph = Callable[[Resources, BaseCheckpointSaver[Any]], Graph]


@dataclass
class Supervisor:
    """Submits, resumes, cancels, forks and follows runs. Runs go on in the background, whoever listens.

    Callers read records through `journal` and states through `history`. Only its methods change runs.
    A server runs whatever is queued. In the `foreground`, only runs that are submitted or resumed here are
    started, at once, and their errors are kept for `watch`.
    """

    settings: Settings
    journal: Journal[Event]
    resources: Resources
    graph: Graph
    log: EventLog
    history: ThreadHistory
    approvals: PendingApprovals
    heartbeat: Heartbeat
    say: Callable[[str], None]
    foreground: bool
    queue: RunQueue = field(init=False)
    _failures: dict[str, Exception] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        workers, limit = self.settings.max_parallel_workers, self.settings.max_concurrent_runs
        driver = partial(Driver, self.journal, self.graph, self.approvals, self.heartbeat, workers)
        ready = partial(check_ready, self.resources)
        self.queue = RunQueue(self.journal, self.heartbeat.owner, limit, driver, ready, self._ended)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        say: Callable[[str], None] = lambda line: None,
        *,
        foreground: bool = False,
        shared: bool = False,
        build: BuildGraph = build,
    ) -> AsyncIterator["Supervisor"]:
        """Open the database and the graph. Models and sandbox open with the first run. `shared` as there.

        Runs that a stop or a crash left behind go on if RESUME_ON_START is set, except in the foreground.
        """
        async with AsyncExitStack() as stack:
            journal = await open_journal(settings)
            stack.push_async_callback(journal.aclose)
            checkpointer = await stack.enter_async_context(open_saver(settings))
            resources = await stack.enter_async_context(open_resources(settings, journal, say, shared))
            graph, log = build(resources, checkpointer), EventLog(journal)
            history = ThreadHistory(journal, graph, checkpointer)
            approvals = PendingApprovals(journal, graph, checkpointer)
            heartbeat = Heartbeat(journal, str(await asyncio.to_thread(this_process)))
            records = (journal, resources, graph, log, history, approvals, heartbeat)
            supervisor = cls(settings, *records, say, foreground)
            stack.push_async_callback(supervisor.aclose)
            if not foreground:  # a command leaves the runs of others to their processes
                supervisor.queue.hold_to_bounds(settings)
                if settings.resume_on_start:
                    await supervisor.recover()
                else:
                    supervisor.queue.held_back = {run.id for run in await journal.runs.queue(100_000)}
                stack.callback(asyncio.create_task(supervisor.queue.poll(say)).cancel)
            yield supervisor

    async def submit(
        self,
        input: Input,
        thread_id: str | None = None,
        *,
        strategy: Strategy = "reject",
        metadata: Mapping[str, Any] | None = None,
    ) -> RunRow:
        """Queue a run and start it if there is room. Without `repo` it gets its thread's, or a scratch one.

        Its options become the defaults of the thread's next runs. `strategy` decides about an unfinished run
        of the thread. Raises InputError before anything is stored, and ThreadBusy if the thread has an
        unfinished run.
        """
        thread_id = check_thread_id(thread_id or str(uuid4()))
        thread = await self.journal.threads.get(thread_id)
        scratch = scratch_folder(self.settings, thread_id)
        options = merge_options(thread.options if thread else {}, input.get("options") or {})
        place, asked = (thread and thread.repo) or str(scratch), {**input, "options": options}
        request = await open_repository(complete_request(asked, self.settings, place), scratch)
        if strategy == "interrupt":
            for earlier in await self.journal.runs.of_thread(thread_id):  # the newest first
                if earlier.unfinished:
                    await self._cancel(earlier, INTERRUPTED, wait=True)
        async with self._held(thread_id, request):
            behind = strategy == "enqueue"
            run = await self.journal.runs.submit(str(uuid4()), thread_id, request, metadata or {}, behind)
            await self.journal.threads.remember(thread_id, options)
            await self._begin(run)
        return await self.run(run.id)

    async def resume(
        self,
        thread_id: str,
        answers: AnswersById | None = None,
        limits: Mapping[str, Any] | None = None,
        answerer: Answerer = NOBODY,
    ) -> RunRow:
        """Continue a thread's run. `answers` answer some or all of its open questions.

        `limits` replace the run's own. A run that has spent its budget needs them to go on. Raises
        InputError, UnknownApproval, AnsweredApproval, RunnerError, and ThreadBusy if the run is at work.
        """
        run = await self.history.resumable_run(thread_id, limits)
        if not answers and not self.foreground and await self.queue.at_work(run):
            raise RunUnfinished(thread_id, run.id, run.status)
        async with self._held(thread_id, with_limits(run, limits, self.settings)):
            # It may have ended while the tools were checked.
            run = await self.history.resumable_run(thread_id, limits)
            if limits:
                await raise_limits(self.journal, run, limits, self.settings)
            is_cancelled = run.status == "cancelled"
            if answers:
                # A page that still shows the question of a cancelled run must not bring the run back.
                if is_cancelled and not self.foreground:
                    raise RunnerError(f"the run on {thread_id} was cancelled; resume it first, it asks again")
                await self.approvals.answer(run, answers, answerer)
            elif not is_cancelled and (pending := await self.approvals.pending(run)):
                ids = ", ".join(each.id for each in pending)
                raise RunnerError(f"thread {thread_id} waits for answers: {ids}; give one, or cancel the run")
            else:
                if run.status == "budget":
                    await self.history.rewind(run)
                await self.journal.runs.resume(run.id, "queued")
            self.queue.held_back.discard(run.id)
            await self._begin(run)
        return await self.run(run.id)

    async def reply(self, thread_id: str, text: str, answerer: Answerer = NOBODY) -> Event | None:
        """Take a user's words as the answer to the questions of a thread, and log them. None without any.

        A plain yes approves, everything else refuses with these words as the reason. In the foreground the
        run goes on with its next resume. Raises InputError.
        """
        run = await self.journal.runs.current(thread_id)
        pending = await self.approvals.pending(run) if run and run.status == "waiting" else []
        if run is None or not pending:
            return None
        event = await self.log.say(run, text)
        answers = {question.id: spoken_answer(text, question.request) for question in pending}
        if self.foreground:
            await self.approvals.answer(run, answers, answerer)
        else:
            await self.resume(thread_id, answers, answerer=answerer)
        return event

    async def cancel(self, thread_id: str, run_id: str | None = None, *, wait: bool = True) -> bool:
        """Stop a thread's run, or take it from the queue. Return False if it had ended."""
        run = await self.journal.runs.get(run_id) if run_id else await self.journal.runs.current(thread_id)
        if run is None or run.thread_id != thread_id:
            raise UnknownRun(f"there is no {f'run {run_id}' if run_id else 'run'} on thread {thread_id}")
        return await self._cancel(run, CANCELLED, wait)

    async def watch(self, run: RunRow, after: int = 0) -> AsyncGenerator[Event, None]:
        """Follow a run of the foreground until it ends or waits. Raises the error that it failed with."""
        # A run that lost its lease stores no end. Its readers end because it is not active any more.
        async for event in self.log.follow(run.thread_id, after, run.id, lambda: run.id not in self.queue):
            yield event
        await self.queue.wait(run.id)
        if failure := self._failures.pop(run.id, None):
            raise failure

    async def wait(self, run_id: str) -> RunRow:
        """Wait until a run has ended or parked, wherever it runs, and return it."""
        while True:
            await self.queue.wait(run_id)
            run = await self.run(run_id)
            if not run.active or self.queue.closed:
                return run
            end = (await self.journal.events.ends([run.thread_id])).get(run.thread_id, 0)
            async for _ in self.log.follow(run.thread_id, end, run_id):
                pass

    async def run(self, run_id: str) -> RunRow:
        """Return one run. Raises UnknownRun."""
        run = await self.journal.runs.get(run_id)
        if run is None:
            raise UnknownRun(f"there is no run {run_id}")
        return run

    async def pending(self, thread_id: str) -> list[ApprovalRequired]:
        """Return the questions that the thread waits for."""
        run = await self.journal.runs.current(thread_id)
        return await self.approvals.pending(run) if run else []

    async def recover(self) -> list[str]:
        """Queue the runs that a stop or a crash left behind. Return the ids of those that had crashed."""
        self.queue.held_back.clear()
        orphans = await self.journal.runs.requeue_orphans()
        await self.queue.claim()
        return orphans

    async def stop(self) -> None:
        """Stop the runs of this process. They stay resumable."""
        await self.queue.stop_all(STOPPED)

    async def aclose(self) -> None:
        """End all runs and readers. A server's runs are parked, so that they go on with its next start."""
        self.queue.closed = True
        await self.queue.stop_all(STOPPED if self.foreground else PARKED)
        self.log.close()

    @asynccontextmanager
    async def _held(self, thread_id: str, input: Mapping[str, Any]) -> AsyncIterator[None]:
        """Check the models first. In the foreground, also check the tools and take the lease."""
        if not self.foreground:
            await check_models(self.resources.agents.models, input)
            yield
            return
        await check_ready(self.resources, input)
        await self.journal.threads.acquire(thread_id, input["repo"], self.heartbeat.owner)
        try:
            yield  # ends with the run's start, which hands the lease over to the run
        except BaseException:
            # An unreleased lease would block the thread for as long as this process lives.
            await asyncio.shield(self.journal.threads.release(thread_id, self.heartbeat.owner))
            raise

    async def _begin(self, run: RunRow) -> None:
        if self.foreground:
            await self.journal.runs.resume(run.id, "running")
            self.queue.start(run)
        else:
            await self.queue.claim()

    def _ended(self, run: RunRow, failure: Exception | None) -> None:
        if failure and self.foreground:
            self._failures[run.id] = failure
        elif failure:
            self.say(f"run {run.id} on thread {run.thread_id}: {failure}")
        self.log.wake(run.thread_id)

    async def _cancel(self, run: RunRow, ending: Ending, wait: bool) -> bool:
        if run.status == "queued":
            if await self.journal.runs.withdraw(run.id, Draft(RunFinished(**WITHDRAWN.data))):
                return True
            run = await self.run(run.id)  # somebody claimed it meanwhile
        if self.queue.stop(run.id, ending):
            if not wait:
                return True
            await self.queue.wait(run.id)
            run = await self.run(run.id)
            if run.status != "waiting":  # else it parked before it saw this
                return run.status == ending.status  # its end may have come first
        if run.status not in ("running", "waiting"):
            return False
        if not await self.journal.threads.request_cancel(run.thread_id):
            finished = Draft(RunFinished(**ABANDONED.data))
            await self.journal.runs.end(run.thread_id, run.id, finished, ABANDONED.status)
        elif wait and (ended := await self.wait(run.id)).status == "waiting":  # it parked before it saw this
            return await self._cancel(ended, ending, wait)
        return True
