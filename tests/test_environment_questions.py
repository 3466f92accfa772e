"""Questions about environments over HTTP, the Agent Protocol and in words: answered once, checked before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from runs import Bench

from graph.builder import Graph, Resources
from graph.supervisor import Supervisor
from nodes.events import EnvironmentReported
from nodes.publish import publisher
from nodes.state import Input, State
from server.app import create_app
from server.protocol.assistants import GRAPH_ID

BUILD = {"kind": "environment", "commands": ["uv sync"], "sources": ["uv.lock"], "at_hand": [".venv"]}
GO_ON = {"kind": "environment", "commands": [], "problem": "ffi.h is missing", "question": "Go on?"}


@pytest.fixture
def heard() -> list[Any]:
    """The answers that the graph has received."""
    return []


@asynccontextmanager
async def asking(bench: Bench, heard: list[Any]) -> AsyncIterator[tuple[Supervisor, httpx.AsyncClient]]:
    """Open a server whose graph asks to build an environment, and to go on if that is refused."""

    async def begin(state: State, runtime: Runtime[None]) -> State:
        assert runtime.execution_info
        return {"run": str(runtime.execution_info.run_id), "stops": [], "missing": []}

    async def environment(state: State, runtime: Runtime[None]) -> State:
        heard.append(interrupt(BUILD))
        if heard[-1]["decision"] == "reject":
            return {"environment_problem": "refused"}
        publish = publisher(runtime.stream_writer, "environment")
        publish(EnvironmentReported(status="building", commands=["uv sync"]))
        publish(EnvironmentReported(status="ready", key="3f2a", seconds=1.5))
        return {"environment_problem": ""}

    async def go_on(state: State) -> State:
        heard.append(interrupt(GO_ON))
        return {}

    async def end(state: State) -> State:
        return {"missing": []}

    def build(resources: Resources, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
        graph = StateGraph(State, input_schema=Input)
        graph.add_node("begin", begin)
        graph.add_node("environment", environment)
        graph.add_node("go_on", go_on)
        graph.add_node("end", end)
        graph.add_edge(START, "begin")
        graph.add_edge("begin", "environment")
        graph.add_conditional_edges(
            "environment", lambda state: "go_on" if state["environment_problem"] else "end", ["go_on", "end"]
        )
        graph.add_edge("go_on", "end")
        graph.add_edge("end", END)
        return graph.compile(checkpointer=checkpointer)

    settings = bench.settings()
    app = create_app(settings)
    async with Supervisor.open(settings, build=build) as supervisor:
        app.state.supervisor = supervisor
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            given: Any = {"task": "Ask", "repo": str(bench.repo.path)}
            run = await supervisor.submit(given, "t")
            assert (await supervisor.wait(run.id)).status == "waiting"
            yield supervisor, client


async def ended(supervisor: Supervisor) -> str:
    run = await supervisor.journal.runs.current("t")
    assert run
    return (await supervisor.wait(run.id)).status


async def test_an_edit_chooses_what_is_at_hand_and_nothing_else(bench: Bench, heard: list[Any]) -> None:
    wrong: list[dict[str, Any]] = [
        {},
        {"params": {}},
        {"params": {"venv": "/etc"}},
        {"params": {"venv": [".venv"]}},
        {"params": {"venv": ".venv", "setup": ["sh"]}},
        {"plan": {}},
    ]
    async with asking(bench, heard) as (supervisor, client):
        (asked,) = (await client.get("/api/threads/t/approvals")).json()
        assert asked["request"] == BUILD
        for edit in wrong:
            body = {"answers": {asked["id"]: {"decision": "edit", **edit}}}
            refused = await client.post("/api/threads/t/approvals", json=body)
            assert refused.status_code == 422
            assert asked["id"] in refused.json()["detail"] and '{"venv": ".venv"}' in refused.json()["detail"]
        assert heard == [] and len(await supervisor.pending("t")) == 1


async def test_http_chooses_a_virtual_environment_and_the_build_is_in_the_log(
    bench: Bench, heard: list[Any]
) -> None:
    async with asking(bench, heard) as (supervisor, client):
        (asked,) = (await client.get("/api/threads/t/approvals")).json()
        answer = {"decision": "edit", "params": {"venv": ".venv"}}
        done = await client.post("/api/threads/t/approvals", json={"answers": {asked["id"]: answer}})
        assert done.status_code == 200 and await ended(supervisor) == "verified"
        assert heard == [answer | {"by": "127.0.0.1", "through": "HTTP"}]
        told = (await client.get("/api/threads/t/events", headers={"Accept": "application/json"})).json()
        assert [event["data"]["status"] for event in told if event["type"] == "environment"] == [
            "building",
            "ready",
        ]


async def test_the_agent_protocol_shows_the_question_and_resumes_with_the_answer(
    bench: Bench, heard: list[Any]
) -> None:
    async with asking(bench, heard) as (supervisor, client):
        state = (await client.get("/threads/t/state")).json()
        assert [one["value"] for one in state["interrupts"]] == [BUILD]
        body = {"assistant_id": GRAPH_ID, "command": {"resume": {"decision": "reject"}}}
        waited = await client.post("/threads/t/runs/wait", json=body)
        assert waited.status_code == 200
        assert [one["value"] for one in waited.json()["__interrupt__"]] == [GO_ON]
        edit = {"decision": "edit", "params": {"venv": ".venv"}}
        wrong = await client.post("/threads/t/runs/wait", json={**body, "command": {"resume": edit}})
        assert wrong.status_code == 422 and "approve or reject it" in wrong.json()["detail"]
        body["command"] = {"resume": {"decision": "approve"}}
        assert (await client.post("/threads/t/runs/wait", json=body)).status_code == 200
        assert [answer["decision"] for answer in heard] == ["reject", "approve"]
        assert await ended(supervisor) == "verified"


async def test_words_answer_both_questions(bench: Bench, heard: list[Any]) -> None:
    async with asking(bench, heard) as (supervisor, client):
        for words, status in (("no thanks", "waiting"), ("Yes, go on.", "verified")):
            said = await client.post("/threads/t/messages", json={"text": words})
            assert said.status_code == 200 and await ended(supervisor) == status
        refused, agreed = heard
        spoken = {"by": "127.0.0.1", "through": "chat"}
        assert refused == {"decision": "reject", "reason": "no thanks", **spoken}
        assert agreed == {"decision": "approve", **spoken}


async def test_words_choose_what_is_at_hand(bench: Bench, heard: list[Any]) -> None:
    async with asking(bench, heard) as (supervisor, client):
        assert (await client.post("/threads/t/messages", json={"text": "use .venv"})).status_code == 200
        assert await ended(supervisor) == "verified"
        (answer,) = heard
        assert answer["decision"] == "edit" and answer["params"] == {"venv": ".venv"}
