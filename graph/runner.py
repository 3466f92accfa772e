"""Drives threads: starts, resumes and cancels runs, and turns LangGraph's stream into the event log."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, StreamMode

from graph.builder import Graph, Resources, build
from graph.events import EVENT, ApprovalRequired, Event
from graph.resources import open_resources
from graph.settings import Settings
from graph.stream import Draft, Translator
from memory.checkpoints import open_checkpointer
from memory.journal import Journal, RunRow
from memory.owner import this_process
from nodes.state import Input, Options, State
from tools.workspace import Workspace, WorkspaceError

BEAT_SECONDS = 0.5
TOKEN_SECONDS = 0.05
RECURSION_LIMIT = 500
FINAL = ("verified", "unverified", "budget")


class RunnerError(Exception):
    """A thread cannot do what was asked of it: what, why, and what to do instead."""


@dataclass
class Runner:
    """One process's face to all threads. Everything it yields is already in the log."""

    settings: Settings
    journal: Journal
    resources: Resources
    graph: Graph
    checkpointer: BaseCheckpointSaver[str]

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, say: Callable[[str], None] = lambda line: None
    ) -> AsyncIterator["Runner"]:
        """Open database and graph; sandbox and models open with the first run. `say` hears of slow set-up."""
        async with AsyncExitStack() as stack:
            journal = await Journal.open(settings.database, settings.secrets())
            stack.push_async_callback(journal.aclose)
            checkpointer = await stack.enter_async_context(open_checkpointer(settings.database))
            resources = await stack.enter_async_context(open_resources(settings, journal, say))
            yield cls(settings, journal, resources, build(resources, checkpointer), checkpointer)

    async def start(self, input: Input, thread_id: str | None = None) -> AsyncIterator[Event]:
        """Run a task, on a new thread or from the last result of `thread_id`."""
        thread_id = thread_id or uuid4().hex[:10]
        task = self._complete(input)
        await self._ready()
        last = await self.journal.last_run(thread_id)
        if last and last.status in ("running", "waiting"):
            raise RunnerError(f"thread {thread_id} has an unfinished run; resume it, or cancel it first")
        async with self._lease(thread_id, task["repo"]) as owner:
            run_id = str(uuid4())
            await self.journal.start_run(run_id, thread_id, task)
            async for event in self._drive(thread_id, run_id, owner, task, resumed=False):
                yield event

    async def resume(
        self, thread_id: str, answers: Mapping[str, Mapping[str, Any]] | None = None
    ) -> AsyncIterator[Event]:
        """Go on with the thread's unfinished run; `answers` maps interrupt ids to a human's decisions."""
        run = await self._unfinished(thread_id)
        pending = {request.id for request in await self.pending(thread_id)}
        if unknown := set(answers or ()) - pending:
            waiting = ", ".join(sorted(pending)) or "none"
            raise RunnerError(f"no such approval: {', '.join(sorted(unknown))}; pending: {waiting}")
        await self._ready()
        async with self._lease(thread_id, run.input["repo"]) as owner:
            await self.journal.continue_run(run.id)
            await self.journal.completions.abandon_all(run.id)
            for id, answer in (answers or {}).items():
                resolved = {"id": id, "decision": answer["decision"], "reason": answer.get("reason")}
                yield await self._write(thread_id, run.id, Draft("approval.resolved", resolved))
            payload = await self._payload(thread_id, run, answers)
            async for event in self._drive(thread_id, run.id, owner, payload, resumed=True):
                yield event

    async def cancel(self, thread_id: str) -> bool:
        """Stop the thread's run, wherever it runs; True when there was one. The thread stays resumable."""
        if await self.journal.ask_cancel(thread_id):
            return True
        run = await self.journal.last_run(thread_id)
        if run is None or run.status not in ("running", "waiting"):
            return False
        await self._finish(
            thread_id, run.id, {"status": "cancelled", "reason": "cancelled while nobody ran it"}
        )
        return True

    async def prune(self, days: float) -> list[str]:
        """Remove what is kept of threads whose last run ended `days` ago or earlier; delivered branches stay.

        Gives their ids. A thread that runs, waits for a human or has crashed is left alone.
        """
        limit, gone = datetime.now(UTC) - timedelta(days=days), list[str]()
        for row in await self.journal.threads():
            run = await self.journal.last_run(row.id)
            if row.owner or run is None or run.finished is None or run.status in ("running", "waiting"):
                continue
            if datetime.fromisoformat(run.finished) > limit:
                continue
            with suppress(WorkspaceError):  # the repository may be gone, and its refs with it
                workspace = await asyncio.to_thread(Workspace.open, Path(row.repo))
                await asyncio.to_thread(workspace.release, row.id)
            await self.checkpointer.adelete_thread(row.id)
            await self.journal.forget(row.id)
            gone.append(row.id)
        return gone

    async def pending(self, thread_id: str) -> list[ApprovalRequired.Data]:
        """The approvals that the thread waits for."""
        state = await self.graph.aget_state(self._config(thread_id))
        return [ApprovalRequired.Data(id=i.id, request=i.value) for i in state.interrupts]

    async def events(self, thread_id: str, after: int = 0) -> list[Event]:
        """The thread's log after sequence number `after`."""
        records = await self.journal.records(thread_id, after)
        return [EVENT.validate_python(vars(record)) for record in records]

    def _complete(self, input: Input) -> Input:
        """The input with this installation's limits where the task sets none."""
        if not str(input.get("task") or "").strip():
            raise RunnerError("the task is empty; say what is to be done")
        if not input.get("repo"):
            raise RunnerError("the task names no repository")
        limits = {
            "parallel": self.settings.enable_parallel_execution,
            "max_debug_rounds": self.settings.max_debug_rounds,
            "max_review_rounds": self.settings.max_review_rounds,
            "max_cost_usd": self.settings.max_cost_usd,
            "max_tokens": self.settings.max_tokens,
            "max_run_seconds": self.settings.max_run_seconds,
            "sandbox_seconds": self.settings.sandbox_timeout,
        }
        given = {name: value for name, value in (input.get("options") or {}).items() if value is not None}
        options = Options.model_validate(limits | given).model_dump()
        return {
            "task": input["task"],
            "repo": input["repo"],
            "context_files": input.get("context_files") or [],
            "options": options,
        }

    async def _ready(self) -> None:
        """One clear error before any work when a model or the sandbox is not there."""
        sandbox, _ = await asyncio.gather(self.resources.sandbox(), self.resources.models.probe())
        sandbox.prepare()

    async def _unfinished(self, thread_id: str) -> RunRow:
        run = await self.journal.last_run(thread_id)
        if run is None:
            raise RunnerError(f"there is no thread {thread_id}; `autocode threads` lists them")
        if run.status in FINAL:
            raise RunnerError(f"thread {thread_id} has nothing to resume: its last run ended as {run.status}")
        return run

    async def _payload(
        self, thread_id: str, run: RunRow, answers: Mapping[str, Mapping[str, Any]] | None
    ) -> Input | Command[Any] | None:
        state = await self.graph.aget_state(self._config(thread_id))
        if state.values.get("run") != run.id:
            return cast(Input, run.input)  # it stopped before its first checkpoint
        return Command(resume=dict(answers)) if answers else None

    @asynccontextmanager
    async def _lease(self, thread_id: str, repo: str) -> AsyncIterator[str]:
        owner = str(this_process())
        await self.journal.acquire(thread_id, repo, owner)
        try:
            yield owner
        finally:
            await asyncio.shield(self.journal.release(thread_id, owner))

    async def _drive(
        self, thread_id: str, run_id: str, owner: str, payload: Any, resumed: bool
    ) -> AsyncIterator[Event]:
        """Run the graph to its end, its next question or its fall, writing and yielding every event."""
        run = await self.journal.last_run(thread_id)
        given = run.input if run else {}
        started = {"task": given.get("task", ""), "repo": given.get("repo", ""), "resumed": resumed}
        yield await self._write(thread_id, run_id, Draft("run.started", started))
        parts: asyncio.Queue[Any] = asyncio.Queue()
        work = asyncio.create_task(self._work(payload, self._config(thread_id, run_id), parts))
        beat = asyncio.create_task(self._beat(thread_id, run_id, owner, work))
        finished: dict[str, Any] = {"status": "cancelled", "reason": "stopped"}
        try:
            async for draft in self._drafts(parts, Translator()):
                yield await self._write(thread_id, run_id, draft)
            await work
            finished = await self._outcome(thread_id)
        except asyncio.CancelledError:
            if not work.cancelled():
                raise
        except GeneratorExit:
            raise
        except BaseException as error:
            finished = {"status": "failed", "reason": str(error)}
            failed = Draft("error", {"message": str(error), "kind": type(error).__name__})
            yield await self._write(thread_id, run_id, failed)
            raise
        finally:
            for task in (work, beat):
                task.cancel()
            await asyncio.wait((work, beat))
            last = await asyncio.shield(self._finish(thread_id, run_id, finished))
        yield last

    async def _work(self, payload: Any, config: RunnableConfig, parts: "asyncio.Queue[Any]") -> None:
        """Stream the graph into `parts`; None marks the end, whatever brought it about."""
        modes: list[StreamMode] = ["tasks", "custom", "messages", "updates", "checkpoints"]
        try:
            async for part in self.graph.astream(
                payload, config, stream_mode=modes, subgraphs=True, version="v2", durability="sync"
            ):
                parts.put_nowait(part)
        finally:
            parts.put_nowait(None)

    async def _drafts(self, parts: "asyncio.Queue[Any]", translator: Translator) -> AsyncIterator[Draft]:
        """Translate parts; tokens that nothing followed are let go after TOKEN_SECONDS."""
        while True:
            try:
                async with asyncio.timeout(TOKEN_SECONDS if translator.holding else None):
                    part = await parts.get()
            except TimeoutError:
                part = None
                drafts = translator.flush()
            else:
                drafts = translator.translate(part) if part else translator.flush()
                if part is None:
                    for draft in drafts:
                        yield draft
                    return
            for draft in drafts:
                yield draft

    async def _beat(self, thread_id: str, run_id: str, owner: str, work: "asyncio.Task[None]") -> None:
        """Keep the lease alive, count active seconds, and stop the work when somebody asks for it."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                stop = await self.journal.beat(thread_id, owner, run_id, BEAT_SECONDS)
            except BaseException:
                work.cancel()
                raise
            if stop:
                work.cancel()
                return

    async def _outcome(self, thread_id: str) -> dict[str, Any]:
        """What run.finished says, from the state the graph left."""
        snapshot = await self.graph.aget_state(self._config(thread_id))
        if snapshot.interrupts:
            return {"status": "waiting", "reason": "a human's approval is needed"}
        state = cast(State, snapshot.values)
        stop, missing = next(iter(state["stops"]), None), state["missing"]
        status = stop["kind"] if stop else "unverified" if missing else "verified"
        return {
            "status": status,
            "proof": state.get("proof"),
            "branch": state.get("branch"),
            "reason": stop["reason"] if stop else (missing[0] if missing else None),
            "missing": missing,
        }

    async def _finish(self, thread_id: str, run_id: str, finished: Mapping[str, Any]) -> Event:
        usage = [vars(one) for one in await self.journal.completions.usage(run_id)]
        await self.journal.finish_run(run_id, finished["status"], finished.get("branch"))
        return await self._write(thread_id, run_id, Draft("run.finished", {**finished, "usage": usage}))

    async def _write(self, thread_id: str, run_id: str, draft: Draft) -> Event:
        record = await self.journal.append(
            thread_id, run_id, draft.type, draft.data, draft.node, draft.step_id
        )
        return EVENT.validate_python(vars(record))

    def _config(self, thread_id: str, run_id: str | None = None) -> RunnableConfig:
        config = RunnableConfig(
            configurable={"thread_id": thread_id},
            recursion_limit=RECURSION_LIMIT,
            max_concurrency=self.settings.max_parallel_workers,
        )
        if run_id:
            config["run_id"] = UUID(run_id)
        return config
