"""Driver of one run: it streams LangGraph's work to the log, keeps the lease and stores the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StreamMode

from graph.approvals import PendingApprovals
from graph.builder import Graph
from graph.delivery import release_snapshots
from graph.heartbeat import Heartbeat
from graph.stream import Translator
from memory.records.journal import Journal
from memory.records.runs import RunRow
from memory.records.threads import ThreadBusy
from nodes.dialogue.results import summarize
from nodes.event_parts import AgentUsage
from nodes.events import ApprovalRequired, ErrorReported, Event, RunFinished, RunStarted
from nodes.publish import Draft
from nodes.state import Input, State

RECURSION_LIMIT = 500  # LangGraph's own is 10,007: a loop between nodes would run for hours

Ready = Callable[[], Coroutine[Any, Any, None]]
GraphInput = Input | Command[Any] | None


@dataclass(frozen=True)
class Ending:
    """The end or park of a run: the data of `run.finished`, and the run's status where that differs."""

    data: Mapping[str, Any]
    status: str
    waiting_for: Sequence[str] = ()

    @classmethod
    def of(cls, status: str, reason: str | None = None, **data: Any) -> "Ending":
        """Return an ending whose event has the run's status."""
        return cls({"status": status, "reason": reason, **data}, status)


STOPPED = Ending.of("cancelled", "stopped")
WITHDRAWN = Ending.of("cancelled", "cancelled while it was queued")
CANCELLED = Ending.of("cancelled", "cancelled by the user")
INTERRUPTED = Ending.of("cancelled", "another run took its place")
ABANDONED = Ending.of("cancelled", "cancelled while nobody ran it")
PARKED = Ending(
    {"status": "waiting", "reason": "the server stopped; the run goes on when it starts again"}, "queued"
)


@dataclass
class Driver:
    """Runs one run in this process, which holds the thread's lease."""

    journal: Journal[Event]
    graph: Graph
    approvals: PendingApprovals
    heartbeat: Heartbeat
    parallel: int
    run: RunRow
    _work: "asyncio.Task[None] | None" = field(default=None, init=False)
    _ending: Ending | None = field(default=None, init=False)

    def stop(self, ending: Ending = STOPPED) -> None:
        """Cancel the models' and the sandbox's work. The run stays resumable."""
        self._ending = self._ending or ending  # the first reason counts
        if self._work:
            self._work.cancel()

    async def drive(self, resumed: bool, ready: Ready | None = None) -> None:
        """Run the graph to its end, its next question or its failure.

        Raises the error that the run failed with, `ready` included, once `run.finished` is stored. Raises
        ThreadBusy if another process has taken the thread over: then nothing more is stored.
        """
        input, options = self.run.input, self.run.input.get("options") or {}
        chosen = {"model": options.get("model"), "models": options.get("models") or {}}
        started = RunStarted(task=input["task"], repo=input["repo"], resumed=resumed, **chosen)
        await self._write([Draft(started)])
        lease = asyncio.create_task(self._keep_lease())
        failure: Exception | None = None
        stored = False
        try:
            if ready:
                await self._start(ready())
            await self._run_graph()
            while not await self._store(ending := await self._outcome()):
                await self._run_graph()
            stored = True
        except asyncio.CancelledError:
            if self._ending is None:  # the event loop closes: the run is left as after a crash
                raise
            ending = self._ending
        except Exception as error:  # whatever it is, the log must hold the end before it is raised
            await self._write([Draft(ErrorReported(message=str(error), kind=type(error).__name__))])
            ending, failure = Ending.of("failed", str(error)), error
        finally:
            await self._end_tasks(lease)
        if stored and ending.status == "waiting" and self._ending not in (None, STOPPED, PARKED):
            ending, stored = self._ending, False  # the cancellation came while the run parked
        if stored:
            if ending.status not in ("waiting", "budget"):  # a larger budget lets a run go on
                await asyncio.to_thread(release_snapshots, Path(self.run.input["repo"]), self.run.thread_id)
            return
        await self._store(ending)
        if failure:
            raise failure

    async def _end_tasks(self, lease: "asyncio.Task[None]") -> None:
        """Cancel the work and the lease's renewal. Raises ThreadBusy if the lease was lost."""
        tasks = [task for task in (self._work, lease) if task]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        lost = None if lease.cancelled() else lease.exception()
        if isinstance(lost, ThreadBusy):
            raise lost

    async def _run_graph(self) -> None:
        """Run the graph until it ends or waits, and write its events."""
        input, done = await self._graph_input()
        parts: asyncio.Queue[Any] = asyncio.Queue()
        work = self._start(self._stream(input, parts))
        # The end mark comes from a callback, because a task that is cancelled before its start runs no code.
        work.add_done_callback(lambda _: parts.put_nowait(None))
        async for drafts in _translated(parts, Translator(done)):
            await self._write(drafts)
        await work

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start `work` as the task that a stop cancels. A stop may have come before."""
        self._work = task = asyncio.create_task(work)
        if self._ending:
            task.cancel()
        return task

    async def _graph_input(self) -> tuple[GraphInput, frozenset[str]]:
        """Return what the graph goes on with, and the tasks of its next superstep that have ended already."""
        state = await self.graph.aget_state(self._config())
        if state.values.get("run") != self.run.id:
            # A new run, or one that stopped before its first checkpoint.
            return cast(Input, self.run.input), frozenset()
        answers = await self.approvals.unused_answers(self.run)
        done = frozenset(task.id for task in state.tasks if task.result is not None)
        return Command(resume=answers) if answers else None, done

    async def _stream(self, input: GraphInput, parts: "asyncio.Queue[Any]") -> None:
        modes: list[StreamMode] = ["tasks", "custom", "messages", "checkpoints"]
        async for part in self.graph.astream(
            input,
            self._config(),
            stream_mode=modes,
            subgraphs=True,  # without it, tokens of subgraphs are dropped silently
            version="v2",
            durability="sync",  # "exit" would store nothing if the process is killed
        ):
            parts.put_nowait(part)

    async def _keep_lease(self) -> None:
        """Renew the lease. Stop the work if somebody requests it, or if the lease is lost."""
        try:
            await self.heartbeat.keep(self.run.thread_id, self.run.id)
        finally:
            self.stop()

    async def _outcome(self) -> Ending:
        """Return the run's ending, from the state that the graph left."""
        snapshot = await self.graph.aget_state(self._config())
        if snapshot.interrupts:
            waiting_for = tuple(approval.id for approval in await self.approvals.pending(self.run))
            data = {"status": "waiting", "reason": "a human's approval is needed"}
            return Ending(data, "waiting", waiting_for)
        state = cast(State, snapshot.values)
        if state.get("answer"):  # the log has its text
            return Ending.of("answered")
        stops, missing, reason, status = state["stops"], state["missing"], None, "verified"
        if stops or missing:
            status = stops[0]["kind"] if stops else "unverified"
            # The end of the repairs is a stop, but not the cause.
            reason = missing[0] if missing and status == "unverified" else stops[0]["reason"]
        return Ending.of(
            status,
            reason,
            proof=state.get("proof"),
            branch=state.get("branch"),
            missing=missing,
            summary=summarize(state.get("proof"), missing, state.get("last_words")),
        )

    async def _store(self, ending: Ending) -> bool:
        """Store the end with its event. Return False if an answer came meanwhile and the run goes on."""
        if ending.status == "waiting" and not ending.waiting_for:  # all questions have their answers by now
            return False
        usage = [AgentUsage(**vars(sums)) for sums in await self.journal.completions.usage(self.run.id)]
        event = await self.journal.runs.end(
            self.run.thread_id,
            self.run.id,
            Draft(RunFinished(**ending.data, usage=usage)),
            ending.status,
            ending.data.get("branch"),
            ending.waiting_for,
        )
        return event is not None

    async def _write(self, drafts: Sequence[Draft]) -> None:
        """Write drafts. A question that is already open is not written again."""
        thread, run, rest = self.run.thread_id, self.run.id, list[Draft]()
        for draft in drafts:
            if not isinstance(draft.data, ApprovalRequired):
                rest.append(draft)
                continue
            await self.journal.events.write(thread, run, rest)
            rest = []
            await self.journal.approvals.ask(thread, run, draft.data.id, draft)
        await self.journal.events.write(thread, run, rest)

    def _config(self) -> RunnableConfig:
        return RunnableConfig(
            configurable={"thread_id": self.run.thread_id},
            recursion_limit=RECURSION_LIMIT,
            max_concurrency=self.parallel,
            run_id=UUID(self.run.id),  # nodes read their run's id from it
        )


async def _translated(parts: "asyncio.Queue[Any]", translator: Translator) -> AsyncIterator[list[Draft]]:
    """Yield the drafts of all parts that are there, up to a None. Held tokens are released when due."""
    batch: list[Any] = []
    while batch[-1:] != [None]:
        try:
            async with asyncio.timeout(translator.due()):
                batch = [await parts.get()]
        except TimeoutError:
            yield translator.release_due()
            continue
        while not parts.empty() and batch[-1] is not None:
            batch.append(parts.get_nowait())
        results = (translator.flush() if part is None else translator.translate(part) for part in batch)
        if drafts := [draft for result in results for draft in result]:
            yield drafts
