"""Routes for assistants. There is one: the graph, by its name or by the UUID that LangGraph derives."""

import asyncio
from typing import Annotated, Any
from uuid import UUID, uuid5

from fastapi import APIRouter, Depends

from graph.builder import Graph
from nodes.state import Options
from server.api.dependencies import SupervisorDep
from server.api.problems import Problem, responses
from server.protocol.request_bodies import AssistantSearch, PageQuery

GRAPH_ID = "autocode"
NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Namespace of LangGraph's assistant ids (langgraph_api/graph.py)."""
ASSISTANT_ID = str(uuid5(NAMESPACE, GRAPH_ID))
CREATED = "2026-01-01T00:00:00.000Z"
"""A fixed date, because the assistant is part of the program."""

router = APIRouter(prefix="/assistants", tags=["assistants"], responses=responses(404, 501))

ASSISTANT: dict[str, Any] = {
    "assistant_id": ASSISTANT_ID,
    "graph_id": GRAPH_ID,
    "name": "AutoCodeAI",
    "description": "Plans, writes and proves a change to a git repository, and delivers a branch.",
    "config": {},
    "context": {},
    "metadata": {"created_by": "system"},
    "version": 1,
    "created_at": CREATED,
    "updated_at": CREATED,
}


def check_assistant(assistant_id: str) -> str:
    """Return the assistant's UUID. Raises Problem 404 for any other id."""
    if assistant_id not in (GRAPH_ID, ASSISTANT_ID):
        detail = f"there is no assistant {assistant_id!r}; the only one is {GRAPH_ID}"
        raise Problem(404, "No such assistant", detail)
    return ASSISTANT_ID


AssistantId = Annotated[str, Depends(check_assistant)]


@router.post("/search")
async def search(body: AssistantSearch) -> list[dict[str, Any]]:
    """List the matching assistants."""
    if body.offset or not body.matches(ASSISTANT):
        return []
    return [{key: value for key, value in ASSISTANT.items() if not body.select or key in body.select}]


@router.post("/count")
async def count(body: AssistantSearch) -> int:
    """Count the matching assistants."""
    return int(body.matches(ASSISTANT))


@router.get("/{assistant_id}")
async def get(assistant_id: AssistantId) -> dict[str, Any]:
    """Return the assistant."""
    return ASSISTANT


@router.get("/{assistant_id}/graph")
async def draw(assistant_id: AssistantId, supervisor: SupervisorDep) -> dict[str, Any]:
    """Return the nodes and edges of the graph."""
    drawing = await asyncio.to_thread(lambda: supervisor.graph.get_graph().to_json())
    ids = [node["id"] for node in drawing["nodes"]]
    nodes = [{"id": id, "type": "runnable", "data": {"name": id}} for id in ids]
    return {"nodes": nodes, "edges": drawing["edges"]}


@router.get("/{assistant_id}/schemas")
async def schemas(assistant_id: AssistantId, supervisor: SupervisorDep) -> dict[str, Any]:
    """Return the JSON Schemas of input, output and state. The input's describes the options of a run."""
    return await asyncio.to_thread(_schemas, supervisor.graph)


@router.get("/{assistant_id}/subgraphs")
async def subgraphs(assistant_id: AssistantId) -> dict[str, Any]:
    """Return the graph's subgraphs. It has none."""
    return {}


@router.get("/{assistant_id}/subgraphs/{namespace}")
async def subgraph(assistant_id: AssistantId, namespace: str) -> dict[str, Any]:
    """Return the subgraphs of a name. There are none."""
    return {}


@router.post("/{assistant_id}/versions")
async def versions(assistant_id: AssistantId, body: PageQuery) -> list[dict[str, Any]]:
    """List the assistant's versions. It has one."""
    return [] if body.offset else [ASSISTANT]


def _schemas(graph: Graph) -> dict[str, Any]:
    # The state declares options as a plain dict, because checkpoints hold plain values only.
    input, output = graph.get_input_jsonschema(), graph.get_output_jsonschema()
    input.setdefault("properties", {})["options"] = Options.model_json_schema()
    empty = {"type": "object", "properties": {}}
    return {
        "graph_id": GRAPH_ID,
        "input_schema": input,
        "output_schema": output,
        "state_schema": output,
        "config_schema": empty,
        "context_schema": empty,
    }
