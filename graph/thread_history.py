"""The stored history of threads: read, extend, fork and delete their checkpoints."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.types import Send, StateSnapshot

from graph.builder import Graph
from graph.errors import BudgetNotRaised, InputError, RunnerError, UnknownCheckpoint, UnknownThread
from graph.run_request import new_thread_id
from memory.records.journal import Journal
from memory.records.runs import RunRow
from memory.records.threads import ThreadRow
from nodes.dialogue.messages import as_taken
from nodes.events import ApprovalRequired, Event, MessageAdded, PlanMade, RunFinished, RunStarted
from nodes.publish import Draft
from tools.workspace import Workspace, WorkspaceError

INPUT = ("task", "repo", "context_files", "options")


@dataclass(frozen=True)
class ThreadHistory:
    """Checkpoints, files and records of all threads."""

    journal: Journal[Event]
    graph: Graph
    checkpointer: BaseCheckpointSaver[str]

    async def state(self, thread_id: str, checkpoint_id: str | None = None) -> StateSnapshot:
        """Return the state at a checkpoint, else the newest. Its values are empty before the first run."""
        await self._thread(thread_id)
        snapshot = await self.graph.aget_state(_config(thread_id, checkpoint_id))
        if checkpoint_id and not snapshot.created_at:
            raise UnknownCheckpoint(f"there is no checkpoint {checkpoint_id} on thread {thread_id}")
        return snapshot

    async def states(self, thread_id: str, limit: int = 10, before: str | None = None) -> list[StateSnapshot]:
        """Return the states at the thread's checkpoints, newest first. `before` is a checkpoint's id."""
        await self._thread(thread_id)
        earlier = _config(thread_id, before) if before else None
        history = self.graph.aget_state_history(_config(thread_id), before=earlier, limit=limit)
        return [snapshot async for snapshot in history]

    async def resumable_run(self, thread_id: str, limits: Mapping[str, Any] | None = None) -> RunRow:
        """Return the run that a resume continues. Raises RunnerError, UnknownThread."""
        run = await self.journal.runs.current(thread_id)
        if run is None and await self.journal.threads.get(thread_id):
            raise RunnerError(f"thread {thread_id} has no run to resume; give it a task")
        if run is None:
            raise UnknownThread(f"there is no thread {thread_id}")
        if run.status == "budget" and not limits:
            raise BudgetNotRaised(
                f"thread {thread_id} has spent its budget, and the resume gives it no larger one"
            )
        if not run.resumable and run.status != "budget":
            raise RunnerError(f"thread {thread_id} has nothing to resume: its last run ended as {run.status}")
        if run.status == "cancelled" and (reason := await self._refusal(run)):
            raise RunnerError(f"thread {thread_id} has nothing to resume: {reason}; give it a new task")
        return run

    async def update(self, thread_id: str, values: Mapping[str, Any]) -> StateSnapshot:
        """Add `messages` to a thread without an unfinished run. Raises InputError for any other key."""
        await self._thread(thread_id)
        if refused := sorted(set(values) - {"messages"}):  # proofs rest on the other keys
            raise InputError(f"the state's {', '.join(refused)} cannot be set, only messages")
        run = await self.journal.runs.current(thread_id)
        if run and run.unfinished:
            raise RunnerError(
                f"thread {thread_id} has an unfinished run; send a note, or update the state after its end"
            )
        added = {"messages": as_taken(values.get("messages") or [])}
        # `commit` is the last node: the thread then stands as after a run, and the next one starts anew.
        await self.graph.aupdate_state(_config(thread_id), added, as_node="commit")
        return await self.graph.aget_state(_config(thread_id))

    async def delete(self, thread_id: str, owner: str = "") -> None:
        """Delete a thread with its checkpoints and snapshots. The branches that it delivered stay.

        Raises UnknownThread, and ThreadBusy while it runs or somebody else than `owner` holds its lease.
        """
        thread = await self._thread(thread_id)
        await self.journal.threads.delete(thread_id, owner)
        await self.checkpointer.adelete_thread(thread_id)
        with suppress(WorkspaceError):  # the repository may be gone, and its refs with it
            workspace = await asyncio.to_thread(Workspace.open, Path(thread.repo))
            await asyncio.to_thread(workspace.release, thread_id)

    async def prune(self, days: float) -> list[str]:
        """Delete the threads whose last run ended `days` ago or earlier, and return their ids.

        A thread that runs, waits for a human or has crashed is left alone.
        """
        limit = datetime.now(UTC) - timedelta(days=days)
        deleted = []
        for row in await self.journal.threads.all():
            run = await self.journal.runs.current(row.id)
            if row.owner or run is None or run.unfinished or run.finished is None:
                continue
            if datetime.fromisoformat(run.finished) <= limit:
                await self.delete(row.id)
                deleted.append(row.id)
        return deleted

    async def fork(self, thread_id: str, checkpoint_id: str | None = None) -> str:
        """Copy a thread up to a checkpoint, else all of it, and return the new thread's id.

        A run that was unfinished there waits on the new thread to be resumed. It gets an id of its own, so it
        pays for its own calls and its budgets start anew. Raises UnknownThread, WorkspaceError.
        """
        chain = await self._chain(thread_id, checkpoint_id)
        newest = await self.checkpointer.aget_tuple(_config(thread_id))
        is_newest = newest is not None and newest.config == chain[0].config
        values = chain[0].checkpoint["channel_values"]
        # Before the first superstep the input is still in the channel that LangGraph writes it to.
        input = values.get("__start__") or values
        fork, run_id = new_thread_id(), str(uuid4())
        origin = {"thread_id": thread_id, "checkpoint_id": chain[0].checkpoint["id"]}
        row = await self.journal.threads.get(thread_id)
        repo = str(input.get("repo") or (row.repo if row else ""))
        if repo:
            await asyncio.to_thread(_hold_snapshots, Path(repo), thread_id, fork, values)
        await self.journal.threads.create(fork, {"forked_from": origin}, repo)
        await self.journal.threads.remember(fork, row.options if row else {})
        await self._copy(fork, run_id, chain, with_writes=is_newest)
        if is_newest:  # the answers are copied as well, and must not lead to the same effects again
            await self.journal.intents.copy(str(values.get("run") or ""), run_id)
        await self._park(fork, run_id, {name: input[name] for name in INPUT if name in input}, origin)
        made = f"{chain[0].checkpoint['ts'][:23]}Z"
        for note in await self.journal.notes.until(str(values.get("run") or ""), made):
            await self.journal.notes.add(fork, Draft(MessageAdded(role="user", text=note)))
        return fork

    async def rewind(self, run: RunRow) -> None:
        """Make the checkpoint before a run's budget was spent its thread's newest. Raises RunnerError."""
        async for snapshot in self.graph.aget_state_history(_config(run.thread_id)):
            if snapshot.values.get("run") != run.id:
                break
            if snapshot.next and not snapshot.values["stops"]:
                await self.graph.aupdate_state(snapshot.config, None, as_node="__copy__")
                return
        raise RunnerError(f"thread {run.thread_id} has no checkpoint from before its budget was spent")

    async def _refusal(self, run: RunRow) -> str | None:
        """Return the reason of a run that ended because its plan was refused. None for any other run."""
        snapshot = await self.graph.aget_state(_config(run.thread_id))
        if snapshot.values.get("run") != run.id or snapshot.next:
            return None
        stops = snapshot.values.get("stops") or []
        return next((str(stop["reason"]) for stop in stops if stop["kind"] == "cancelled"), None)

    async def _thread(self, thread_id: str) -> ThreadRow:
        thread = await self.journal.threads.get(thread_id)
        if thread is None:
            raise UnknownThread(f"there is no thread {thread_id}")
        return thread

    async def _chain(self, thread_id: str, checkpoint_id: str | None) -> list[CheckpointTuple]:
        """Return the checkpoint and those before it, newest first."""
        saved = await self.checkpointer.aget_tuple(_config(thread_id, checkpoint_id))
        if saved is None and checkpoint_id:
            raise UnknownCheckpoint(f"there is no checkpoint {checkpoint_id} on thread {thread_id}")
        if saved is None:
            raise UnknownThread(f"there is no thread {thread_id} to fork")
        chain = []
        while saved:
            chain.append(saved)
            parent = saved.parent_config
            saved = await self.checkpointer.aget_tuple(parent) if parent else None
        return chain

    async def _copy(self, fork: str, run_id: str, chain: list[CheckpointTuple], with_writes: bool) -> None:
        """Copy checkpoints to the thread `fork`, and give the run of the last one its new id.

        Pending writes are copied from the newest checkpoint only. Those of an earlier one are what the
        original went on to do.
        """
        config = _config(fork)
        for saved in reversed(chain):
            checkpoint = saved.checkpoint
            if saved is chain[0]:
                values = checkpoint["channel_values"].items()
                checkpoint = {
                    **checkpoint, "channel_values": {name: _owned(name, v, run_id) for name, v in values}
                }  # fmt: skip
            versions = checkpoint["channel_versions"]
            config = await self.checkpointer.aput(config, checkpoint, saved.metadata, versions)
        if with_writes:
            writes = chain[0].pending_writes or []
            for task, group in groupby(writes, key=lambda write: write[0]):
                own = [(channel, _owned(channel, value, run_id)) for _, channel, value in group]
                await self.checkpointer.aput_writes(config, own, task)

    async def _park(
        self, fork: str, run_id: str, input: Mapping[str, Any], origin: Mapping[str, str]
    ) -> None:
        """Store the unfinished run as waiting, and write to the log what is known of it."""
        state = await self.graph.aget_state(_config(fork))
        if not state.next:
            return
        await self.journal.runs.start(run_id, fork, input, "waiting")
        drafts = [Draft(RunStarted(task=input["task"], repo=input["repo"]))]
        if state.values.get("run") == run_id and (plan := state.values.get("plan")):
            drafts.append(Draft(PlanMade(plan=plan), "planner"))
        await self.journal.events.write(fork, run_id, drafts)
        for task in state.tasks:
            for interrupt in task.interrupts:
                question = Draft(ApprovalRequired(id=interrupt.id, request=interrupt.value), task.name)
                await self.journal.approvals.ask(fork, run_id, interrupt.id, question)
        place = f"thread {origin['thread_id']} at checkpoint {origin['checkpoint_id']}"
        parked = Draft(RunFinished(status="waiting", reason=f"forked from {place}; resume it to go on"))
        await self.journal.runs.end(fork, run_id, parked, "waiting")


def _config(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    place = {"thread_id": thread_id, "checkpoint_ns": ""}
    return RunnableConfig(configurable=place | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {}))


def _hold_snapshots(repo: Path, thread_id: str, fork: str, values: Mapping[str, Any]) -> None:
    """Hold the checkpoint's files by refs of the fork, so that it survives its original."""
    workspace = Workspace.open(repo)
    snapshots = workspace.held(thread_id)
    snapshots |= {name: values[name] for name in ("base", "head", "delivered") if values.get(name)}
    # The original gave its steps' snapshots up when its run ended.
    results = values.get("results") or []
    snapshots |= {result["step_id"]: result["snapshot"] for result in results if "snapshot" in result}
    if earlier := values.get("debugging"):
        snapshots["debugging"] = earlier["head"]
    for name, snapshot in snapshots.items():
        workspace.hold(fork, name, snapshot)


def _owned(channel: str, value: Any, run_id: str) -> Any:
    """Return a channel's value for the new run: with its id, also in what was sent to branches."""
    if channel == "run":
        return run_id
    if isinstance(value, Send) and isinstance(value.arg, dict) and "run" in value.arg:
        return Send(value.node, {**value.arg, "run": run_id})
    if channel == "__pregel_tasks" and isinstance(value, list | tuple):
        return [_owned(channel, send, run_id) for send in value]
    return value
