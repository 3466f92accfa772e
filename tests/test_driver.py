"""Endings of runs: what the graph's last state, a stop and an error make of a run."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from runs import Bench

from graph.builder import Graph, Resources
from graph.supervisor import Supervisor
from nodes.events import RunFinished
from nodes.state import Input, State

BUDGET = {"kind": "budget", "reason": "the budget is spent"}
REJECTED = {"kind": "cancelled", "reason": "the plan was rejected"}
LATE = {"kind": "unverified", "reason": "time is up"}


def one_node(result: dict[str, Any], error: Exception | None = None, question: Any = None) -> Any:
    """A graph whose only node asks `question`, then fails with `error`, else ends with `result`."""

    async def work(state: State, runtime: Runtime[None]) -> State:
        if question is not None:
            interrupt(question)
        if error:
            raise error
        return {"stops": [], "missing": [], **result}  # type: ignore[typeddict-item]

    async def start(state: State, runtime: Runtime[None]) -> State:
        assert runtime.execution_info
        return {"run": str(runtime.execution_info.run_id)}

    def build(resources: Resources, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
        graph = StateGraph(State, input_schema=Input)
        graph.add_node("start", start)
        graph.add_node("work", work)
        graph.add_edge(START, "start")
        graph.add_edge("start", "work")
        graph.add_edge("work", END)
        return graph.compile(checkpointer=checkpointer)

    return build


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        ({}, "verified", None),
        ({"missing": ["no test", "no verdict"]}, "unverified", "no test"),
        ({"stops": [BUDGET]}, "budget", "the budget is spent"),
        ({"stops": [REJECTED], "missing": ["no test"]}, "cancelled", "the plan was rejected"),
        ({"stops": [LATE]}, "unverified", "time is up"),
        ({"stops": [BUDGET, LATE]}, "budget", "the budget is spent"),
    ],
)
async def test_the_last_state_decides_how_a_run_ends(
    bench: Bench, result: dict[str, Any], status: str, reason: str | None
) -> None:
    async with Supervisor.open(bench.settings(enable_memory=False), build=one_node(result)) as supervisor:
        run = await supervisor.submit({"task": "x", "repo": str(bench.repo.path)}, "t")
        assert (await supervisor.wait(run.id)).status == status
        *_, end = await supervisor.journal.events.read("t")
    assert isinstance(end.data, RunFinished)
    assert (end.data.status, end.data.reason) == (status, reason)
    assert end.data.missing == result.get("missing", [])


@pytest.mark.parametrize("foreground", [False, True])
async def test_an_error_fails_the_run_and_reaches_who_watches_in_the_foreground(
    bench: Bench, foreground: bool
) -> None:
    said: list[str] = []
    build = one_node({}, LookupError("no such thing"))
    settings = bench.settings(enable_memory=False)
    async with Supervisor.open(settings, said.append, foreground=foreground, build=build) as supervisor:
        run = await supervisor.submit({"task": "x", "repo": str(bench.repo.path)}, "t")
        seen = []
        if foreground:
            with pytest.raises(LookupError, match="no such thing"):
                async for event in supervisor.watch(run):
                    seen.append(event)
        else:
            seen = [event async for event in supervisor.log.follow("t", 0, run.id)]
        assert (await supervisor.wait(run.id)).status == "failed"
    assert [event.type for event in seen][-2:] == ["error", "run.finished"]
    assert any("no such thing" in line for line in said) is not foreground


async def test_a_question_parks_the_run_and_holds_no_lease(bench: Bench) -> None:
    build = one_node({}, question={"kind": "tool", "params": {}})
    async with Supervisor.open(bench.settings(enable_memory=False), build=build) as supervisor:
        run = await supervisor.submit({"task": "x", "repo": str(bench.repo.path)}, "t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        thread = await supervisor.journal.threads.get("t")
        assert thread and thread.owner is None
        (asked,) = await supervisor.pending("t")
        await supervisor.resume("t", {asked.id: {"decision": "approve"}})
        assert (await supervisor.wait(run.id)).status == "verified"


@pytest.mark.parametrize("by", ["its own process", "another process"])
async def test_a_cancel_while_a_run_parks_takes_effect(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    build = one_node({}, question={"kind": "tool", "params": {}})
    settings = bench.settings(enable_memory=False)
    async with (
        Supervisor.open(settings, build=build) as supervisor,
        Supervisor.open(settings, foreground=True, build=build) as other,
    ):
        end, cancels = supervisor.journal.runs.end, list[asyncio.Task[bool]]()

        async def end_late(*args: Any) -> Any:
            if not cancels:
                canceller = supervisor if by == "its own process" else other
                cancels.append(asyncio.create_task(canceller.cancel("t")))
                await asyncio.sleep(0.2)  # the cancel is on its way now
            return await end(*args)

        monkeypatch.setattr(supervisor.journal.runs, "end", end_late)
        run = await supervisor.submit({"task": "x", "repo": str(bench.repo.path)}, "t")
        await supervisor.wait(run.id)
        assert await cancels[0] is True
        assert (await supervisor.run(run.id)).status == "cancelled"
        *_, last = await supervisor.journal.events.read("t")
    assert isinstance(last.data, RunFinished) and last.data.status == "cancelled"
