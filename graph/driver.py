"""Drives one run: LangGraph's stream becomes the log, the lease is kept, the end is told."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StreamMode

from graph.approvals import Approvals
from graph.builder import Graph
from graph.heartbeat import Pulse
from graph.stream import Translator
from memory.records.journal import Journal
from memory.records.runs import RunRow
from memory.records.threads import ThreadBusy
from nodes.events import AgentUsage, ApprovalRequired, ErrorReported, Event, RunFinished, RunStarted
from nodes.publish import Draft
from nodes.state import Input, State

RECURSION_LIMIT = 500

Ready = Callable[[], Coroutine[Any, Any, None]]
Payload = Input | Command[Any] | None


@dataclass(frozen=True)
class Ending:
    """How a run ends or parks: what `run.finished` says, and the run's status where that differs."""

    data: Mapping[str, Any]
    status: str
    waiting_for: Sequence[str] = ()

    @classmethod
    def of(cls, status: str, reason: str | None = None, **data: Any) -> "Ending":
        """An ending whose event names its status."""
        return cls({"status": status, "reason": reason, **data}, status)


STOPPED = Ending.of("cancelled", "stopped")
PARKED = Ending(
    {"status": "waiting", "reason": "the server stopped; the run goes on when it starts again"}, "queued"
)


@dataclass
class Driver:
    """One run at work in this process, which holds the thread's lease."""

    journal: Journal[Event]
    graph: Graph
    approvals: Approvals
    run: RunRow
    pulse: Pulse
    parallel: int
    _work: "asyncio.Task[None] | None" = field(default=None, init=False)
    _ending: Ending | None = field(default=None, init=False)

    def stop(self, ending: Ending = STOPPED) -> None:
        """Stop models, sandbox and all; the run stays resumable."""
        self._ending = self._ending or ending
        if self._work:
            self._work.cancel()

    async def drive(self, resumed: bool, ready: Ready | None = None) -> AsyncIterator[Event]:
        """Run the graph to its end, its next question or its fall; every event is in the log when it comes.

        What the run fell over, `ready` included, is raised once `run.finished` is written.
        """
        started = RunStarted(task=self.run.input["task"], repo=self.run.input["repo"], resumed=resumed)
        for event in await self._write([Draft(started)]):
            yield event
        beat = asyncio.create_task(self._beat())
        telling: asyncio.Task[Event | None] | None = None
        ending = STOPPED
        try:
            if ready:
                await self._begin(ready())
            while telling is None or await asyncio.shield(telling) is None:
                async with aclosing(self._course()) as course:
                    async for event in course:
                        yield event
                telling = asyncio.create_task(self._tell(await self._outcome()))
        except asyncio.CancelledError:
            if self._ending is None or _cancelling():
                raise
            ending = self._ending
        except GeneratorExit:
            raise
        except BaseException as error:
            ending = Ending.of("failed", str(error))
            failed = Draft(ErrorReported(message=str(error), kind=type(error).__name__))
            for event in await self._write([failed]):
                yield event
            raise
        finally:
            await self._rest(beat)
            last = await asyncio.shield(telling or asyncio.create_task(self._tell(ending)))
        if last:
            yield last

    async def _rest(self, beat: "asyncio.Task[None]") -> None:
        """End the work and the beat. Raises ThreadBusy where another process has the thread by now."""
        tasks = [task for task in (self._work, beat) if task]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        lost = None if beat.cancelled() else beat.exception()
        if isinstance(lost, ThreadBusy):
            raise lost

    async def _course(self) -> AsyncGenerator[Event, None]:
        """One pass through the graph."""
        payload = await self._payload()
        parts: asyncio.Queue[Any] = asyncio.Queue()
        work = self._begin(self._stream(payload, parts))
        work.add_done_callback(lambda _: parts.put_nowait(None))  # also of what was stopped before it began
        async for drafts in self._drafts(parts, Translator()):
            for event in await self._write(drafts):
                yield event
        await work

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do `work` where a stop reaches it, also one that came before."""
        self._work = task = asyncio.create_task(work)
        if self._ending:
            task.cancel()
        return task

    async def _payload(self) -> Payload:
        state = await self.graph.aget_state(self._config(named=False))
        if state.values.get("run") != self.run.id:
            return cast(Input, self.run.input)  # it begins, or it stopped before its first checkpoint
        given = await self.approvals.given(self.run)
        return Command(resume=given) if given else None

    async def _stream(self, payload: Payload, parts: "asyncio.Queue[Any]") -> None:
        """Stream the graph into `parts`."""
        modes: list[StreamMode] = ["tasks", "custom", "messages", "checkpoints"]
        async for part in self.graph.astream(
            payload,
            self._config(named=True),
            stream_mode=modes,
            subgraphs=True,
            version="v2",
            durability="sync",
        ):
            parts.put_nowait(part)

    async def _drafts(
        self, parts: "asyncio.Queue[Any]", translator: Translator
    ) -> AsyncIterator[list[Draft]]:
        """Translate all that is there, up to a None; tokens that were held go when they are due."""
        ended = False
        while not ended:
            drafts: list[Draft] = []
            try:
                async with asyncio.timeout(translator.due()):
                    part = await parts.get()
            except TimeoutError:
                yield translator.flush()
                continue
            while not ended:
                ended = part is None
                drafts += translator.flush() if ended else translator.translate(part)
                if ended or parts.empty():
                    break
                part = parts.get_nowait()
            if drafts:
                yield drafts

    async def _beat(self) -> None:
        """Keep the lease; stop the work when somebody asks for it, or when the lease is lost."""
        try:
            await self.pulse.hold(self.run.thread_id, self.run.id)
        finally:
            self.stop()

    async def _outcome(self) -> Ending:
        """How the run ends, from the state the graph left."""
        snapshot = await self.graph.aget_state(self._config(named=False))
        if snapshot.interrupts:
            waiting_for = tuple(one.id for one in await self.approvals.pending(self.run))
            data = {"status": "waiting", "reason": "a human's approval is needed"}
            return Ending(data, "waiting", waiting_for)
        state = cast(State, snapshot.values)
        stop, missing = next(iter(state["stops"]), None), state["missing"]
        return Ending.of(
            stop["kind"] if stop else "unverified" if missing else "verified",
            stop["reason"] if stop else (missing[0] if missing else None),
            proof=state.get("proof"),
            branch=state.get("branch"),
            missing=missing,
        )

    async def _tell(self, ending: Ending) -> Event | None:
        """Tell the end; None when an answer came meanwhile and the run goes on."""
        if ending.status == "waiting" and not ending.waiting_for:
            return None
        usage = [AgentUsage(**vars(one)) for one in await self.journal.completions.usage(self.run.id)]
        draft = Draft(RunFinished(**ending.data, usage=usage))
        return await self.journal.runs.end(
            self.run.thread_id,
            self.run.id,
            draft,
            ending.status,
            ending.data.get("branch"),
            ending.waiting_for,
        )

    async def _write(self, drafts: Sequence[Draft]) -> list[Event]:
        """Write drafts; a question that stands already is not told again."""
        thread, run = self.run.thread_id, self.run.id
        if not any(isinstance(draft.data, ApprovalRequired) for draft in drafts):
            return await self.journal.events.write(thread, run, drafts)
        events: list[Event] = []
        for draft in drafts:
            if not isinstance(draft.data, ApprovalRequired):
                events += await self.journal.events.write(thread, run, [draft])
            elif event := await self.journal.approvals.ask(thread, run, draft.data.id, draft):
                events.append(event)
        return events

    def _config(self, *, named: bool) -> RunnableConfig:
        config = RunnableConfig(
            configurable={"thread_id": self.run.thread_id},
            recursion_limit=RECURSION_LIMIT,
            max_concurrency=self.parallel,
        )
        if named:
            config["run_id"] = UUID(self.run.id)
        return config


def _cancelling() -> bool:
    task = asyncio.current_task()
    return bool(task and task.cancelling())
