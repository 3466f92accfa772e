"""One process's hold on database, graph and models, and runs carried by whoever iterates over them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from langgraph.checkpoint.base import BaseCheckpointSaver

from graph.approvals import Answers, Approvals
from graph.builder import Graph, Resources, build
from graph.component_settings import open_journal
from graph.driver import Driver, Ending
from graph.errors import RunnerError, UnknownThread
from graph.heartbeat import Pulse
from graph.resources import open_resources
from graph.run_request import completed
from graph.settings import Settings
from memory.records.checkpoints import open_checkpointer
from memory.records.journal import Journal
from memory.records.owner import this_process
from memory.records.runs import RunRow
from nodes.events import ApprovalRequired, Event, RunFinished
from nodes.publish import Draft
from nodes.state import Input
from tools.workspace import Workspace, WorkspaceError

__all__ = ["Runner", "RunnerError"]


@dataclass
class Runner:
    """Runs last as long as their iterators; everything that these yield is already in the log."""

    settings: Settings
    journal: Journal[Event]
    resources: Resources
    graph: Graph
    checkpointer: BaseCheckpointSaver[str]
    pulse: Pulse

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, say: Callable[[str], None] = lambda line: None
    ) -> AsyncIterator["Runner"]:
        """Open database and graph; sandbox and models open with the first run. `say` hears of slow set-up."""
        async with AsyncExitStack() as stack:
            journal = await open_journal(settings)
            stack.push_async_callback(journal.aclose)
            checkpointer = await stack.enter_async_context(open_checkpointer(settings.database))
            resources = await stack.enter_async_context(open_resources(settings, journal, say))
            graph = build(resources, checkpointer)
            pulse = Pulse(journal, str(await asyncio.to_thread(this_process)))
            yield cls(settings, journal, resources, graph, checkpointer, pulse)

    @property
    def approvals(self) -> Approvals:
        """What threads wait for."""
        return Approvals(self.journal, self.graph, self.checkpointer)

    async def start(self, input: Input, thread_id: str | None = None) -> AsyncIterator[Event]:
        """Run a task, on a new thread or from the last result of `thread_id`."""
        thread_id = thread_id or uuid4().hex[:10]
        task = completed(input, self.settings)
        await self.ready(task.get("repo"))
        run = await self.journal.runs.current(thread_id)
        if run and run.unfinished:
            raise RunnerError(f"thread {thread_id} has an unfinished run; resume it, or cancel it first")
        async with self._lease(thread_id, task.get("repo") or ""):
            run_id = str(uuid4())
            await self.journal.runs.start(run_id, thread_id, task)
            run = await self.unfinished(thread_id)
            async for event in self.driver(run).drive(resumed=False):
                yield event

    async def resume(self, thread_id: str, answers: Answers | None = None) -> AsyncIterator[Event]:
        """Go on with the thread's unfinished run; `answers` maps interrupt ids to a human's decisions."""
        run = await self.unfinished(thread_id)
        await self.ready(run.input["repo"])
        async with self._lease(thread_id, run.input["repo"]):
            for event in await self.approvals.answer(run, answers or {}):
                yield event
            await self.journal.runs.proceed(run.id)
            await self.journal.completions.abandon_all(run.id)
            async for event in self.driver(run).drive(resumed=True):
                yield event

    async def cancel(self, thread_id: str) -> bool:
        """Stop the thread's run, wherever it runs; True when there was one. The thread stays resumable."""
        if await self.journal.threads.request_cancel(thread_id):
            return True
        run = await self.journal.runs.current(thread_id)
        if run is None or not run.unfinished:
            return False
        ending = Ending.of("cancelled", "cancelled while nobody ran it")
        draft = Draft(RunFinished(**ending.data))
        await self.journal.runs.end(thread_id, run.id, draft, ending.status)
        return True

    async def prune(self, days: float) -> list[str]:
        """Remove what is kept of threads whose last run ended `days` ago or earlier; delivered branches stay.

        Gives their ids. A thread that runs, waits for a human or has crashed is left alone.
        """
        limit, gone = datetime.now(UTC) - timedelta(days=days), list[str]()
        for row in await self.journal.threads.all():
            run = await self.journal.runs.current(row.id)
            if row.owner or run is None or run.unfinished or run.finished is None:
                continue
            if datetime.fromisoformat(run.finished) > limit:
                continue
            await self.forget(row.id, row.repo)
            gone.append(row.id)
        return gone

    async def forget(self, thread_id: str, repo: str) -> None:
        """Remove all that is kept of a thread but the branches that it delivered. Raises ThreadBusy."""
        await self.journal.threads.delete(thread_id)
        await self.checkpointer.adelete_thread(thread_id)
        with suppress(WorkspaceError):  # the repository may be gone, and its refs with it
            workspace = await asyncio.to_thread(Workspace.open, Path(repo))
            await asyncio.to_thread(workspace.release, thread_id)

    async def pending(self, thread_id: str) -> list[ApprovalRequired]:
        """The approvals that the thread waits for."""
        run = await self.journal.runs.current(thread_id)
        return await self.approvals.pending(run) if run else []

    async def events(self, thread_id: str, after: int = 0) -> list[Event]:
        """The thread's log after sequence number `after`."""
        return await self.journal.events.read(thread_id, after)

    async def ready(self, repo: str | None) -> None:
        """One clear error before any work when a model or the sandbox is not there; memory gets a start."""
        if repo and self.resources.memory:
            with suppress(WorkspaceError):
                workspace = await asyncio.to_thread(Workspace.open, Path(repo))
                await self.resources.memory.prepare(workspace.path)
        sandbox, _ = await asyncio.gather(self.resources.sandbox(), self.resources.models.probe())
        sandbox.prepare()

    async def unfinished(self, thread_id: str) -> RunRow:
        """The run that a resume goes on with. Raises RunnerError where there is none."""
        run = await self.journal.runs.current(thread_id)
        if run is None and await self.journal.threads.get(thread_id):
            raise RunnerError(f"thread {thread_id} has no run to resume; give it a task")
        if run is None:
            raise UnknownThread(f"there is no thread {thread_id}; `autocode threads` lists them")
        if not run.resumable:
            raise RunnerError(f"thread {thread_id} has nothing to resume: its last run ended as {run.status}")
        return run

    def driver(self, run: RunRow) -> Driver:
        """What carries `run` in this process, which holds its thread."""
        parallel = self.settings.max_parallel_workers
        return Driver(self.journal, self.graph, self.approvals, run, self.pulse, parallel)

    @asynccontextmanager
    async def _lease(self, thread_id: str, repo: str) -> AsyncIterator[None]:
        await self.journal.threads.acquire(thread_id, repo, self.pulse.owner)
        try:
            yield
        finally:
            await asyncio.shield(self.journal.threads.release(thread_id, self.pulse.owner))
