"""Forks: a checkpoint of a thread's history, with its files, becomes a thread of its own; both go on."""

import asyncio
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Send

from graph.errors import UnknownThread
from graph.runner import Runner
from nodes.events import ApprovalRequired, PlanMade, RunFinished, RunStarted
from nodes.publish import Draft
from tools.workspace import Workspace

INPUT = ("task", "repo", "context_files", "options")


async def fork(runner: Runner, thread_id: str, checkpoint_id: str | None = None) -> str:
    """Make a thread that stands where `thread_id` stood at a checkpoint, else where it stands; gives its id.

    A run that was under way there waits on the new thread to be resumed, under an id of its own, so it pays
    for its own calls and its budgets begin anew. Raises UnknownThread, WorkspaceError.
    """
    chain = await _chain(runner, thread_id, checkpoint_id)
    newest = checkpoint_id is None or chain[0].config == (await _saved(runner, thread_id)).config
    values = chain[0].checkpoint["channel_values"]
    given = values.get("__start__") or values
    new, run = uuid4().hex[:10], str(uuid4())
    at = {"thread_id": thread_id, "checkpoint_id": chain[0].checkpoint["id"]}
    row = await runner.journal.threads.get(thread_id)
    repo = str(given.get("repo") or (row.repo if row else ""))
    if repo:
        await asyncio.to_thread(_hold, Path(repo), thread_id, new, values)
    await runner.journal.threads.create(new, {"forked_from": at}, repo)
    await _copy(runner, new, run, chain, with_writes=newest)
    await _park(runner, new, run, {name: given[name] for name in INPUT if name in given}, at)
    return new


async def _saved(runner: Runner, thread_id: str, checkpoint_id: str | None = None) -> CheckpointTuple:
    config = RunnableConfig(configurable={"thread_id": thread_id, "checkpoint_ns": ""})
    if checkpoint_id:
        config["configurable"]["checkpoint_id"] = checkpoint_id
    saved = await runner.checkpointer.aget_tuple(config)
    if saved is None:
        what = f"checkpoint {checkpoint_id} on thread {thread_id}" if checkpoint_id else f"thread {thread_id}"
        raise UnknownThread(f"there is no {what} to fork; `autocode fork {thread_id} --list` lists them")
    return saved


async def _chain(runner: Runner, thread_id: str, checkpoint_id: str | None) -> list[CheckpointTuple]:
    """The checkpoint and those before it, newest first."""
    chain = [await _saved(runner, thread_id, checkpoint_id)]
    while parent := chain[-1].parent_config:
        before = await runner.checkpointer.aget_tuple(parent)
        if before is None:
            break
        chain.append(before)
    return chain


def _hold(repo: Path, thread_id: str, new: str, values: Mapping[str, Any]) -> None:
    """Keep the files of the checkpoint, whatever becomes of the thread that they come from."""
    workspace = Workspace.open(repo)
    snapshots = workspace.held(thread_id)
    snapshots |= {name: values[name] for name in ("base", "head", "delivered") if values.get(name)}
    for name, snapshot in snapshots.items():
        workspace.hold(new, name, snapshot)


async def _copy(runner: Runner, new: str, run: str, chain: list[CheckpointTuple], with_writes: bool) -> None:
    """Copy checkpoints to the thread `new`, the last with its run's new id.

    The writes of a step that was under way come along; those of a past one are what it went on to do.
    """
    config = RunnableConfig(configurable={"thread_id": new, "checkpoint_ns": ""})
    for saved in reversed(chain):
        checkpoint = saved.checkpoint
        if saved is chain[0]:
            channels = {
                name: _owned(name, value, run) for name, value in checkpoint["channel_values"].items()
            }
            checkpoint = {**checkpoint, "channel_values": channels}
        versions = checkpoint["channel_versions"]
        config = await runner.checkpointer.aput(config, checkpoint, saved.metadata, versions)
    if with_writes:
        writes = chain[0].pending_writes or []
        for task, group in groupby(writes, key=lambda write: write[0]):
            own = [(channel, _owned(channel, value, run)) for _, channel, value in group]
            await runner.checkpointer.aput_writes(config, own, task)


def _owned(channel: str, value: Any, run: str) -> Any:
    """A channel's value for the new run: its id, and what is sent to branches with it."""
    if channel == "run":
        return run
    if isinstance(value, Send) and isinstance(value.arg, dict) and "run" in value.arg:
        return Send(value.node, {**value.arg, "run": run})
    if channel == "__pregel_tasks" and isinstance(value, list | tuple):
        return [_owned(channel, one, run) for one in value]
    return value


async def _park(runner: Runner, new: str, run: str, input: Mapping[str, Any], at: Mapping[str, str]) -> None:
    """Note the run that was under way, waiting to be resumed, and what can be known of it in the log."""
    state = await runner.graph.aget_state(RunnableConfig(configurable={"thread_id": new}))
    if not state.next:
        return
    await runner.journal.runs.start(run, new, input, "waiting")
    drafts = [Draft(RunStarted(task=input["task"], repo=input["repo"]))]
    if state.values.get("run") == run and (plan := state.values.get("plan")):
        drafts.append(Draft(PlanMade(plan=plan), "planner"))
    await runner.journal.events.write(new, run, drafts)
    for task in state.tasks:
        for asked in task.interrupts:
            question = ApprovalRequired(id=asked.id, request=asked.value)
            await runner.journal.approvals.ask(new, run, asked.id, Draft(question, task.name))
    reason = f"forked from thread {at['thread_id']} at checkpoint {at['checkpoint_id']}; resume it to go on"
    ended = Draft(RunFinished(status="waiting", reason=reason))
    await runner.journal.runs.end(new, run, ended, "waiting")
