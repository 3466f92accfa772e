"""Assistants: the one graph, under its name and under the UUID that LangGraph gives a graph of that name."""

import asyncio
from typing import Annotated, Any
from uuid import UUID, uuid5

from fastapi import APIRouter, Depends

from graph.builder import Graph
from nodes.state import Options
from server.api.dependencies import Supervised
from server.api.problems import Problem, responses
from server.protocol.wire import AssistantSearch, Page

GRAPH_ID = "autocode"
NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""What LangGraph derives the ids of assistants from (langgraph_api/graph.py)."""
ASSISTANT_ID = str(uuid5(NAMESPACE, GRAPH_ID))
BORN = "2026-01-01T00:00:00.000Z"
"""The assistant is part of the program: it has no other date."""

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
    "created_at": BORN,
    "updated_at": BORN,
}


def known(assistant_id: str) -> str:
    """The assistant's UUID; 404 for any name or UUID but its own."""
    if assistant_id not in (GRAPH_ID, ASSISTANT_ID):
        raise Problem(
            404, "No such assistant", f"there is no assistant {assistant_id!r}; there is one: {GRAPH_ID}"
        )
    return ASSISTANT_ID


Known = Annotated[str, Depends(known)]


@router.post("/search")
async def search(body: AssistantSearch) -> list[dict[str, Any]]:
    """List the assistants that match."""
    found = [ASSISTANT] if body.matches(ASSISTANT) else []
    chosen = found[body.offset : body.offset + body.limit]
    return [{k: v for k, v in one.items() if not body.select or k in body.select} for one in chosen]


@router.post("/count")
async def count(body: AssistantSearch) -> int:
    """Count the assistants that match."""
    return int(body.matches(ASSISTANT))


@router.get("/{assistant_id}")
async def get(assistant_id: Known) -> dict[str, Any]:
    """Give the assistant."""
    return ASSISTANT


@router.get("/{assistant_id}/graph")
async def drawing(assistant_id: Known, supervisor: Supervised) -> dict[str, Any]:
    """Draw the graph: nodes and edges."""
    drawn = await asyncio.to_thread(lambda: supervisor.graph.get_graph().to_json())
    nodes = [{"id": one["id"], "type": "runnable", "data": {"name": one["id"]}} for one in drawn["nodes"]]
    return {"nodes": nodes, "edges": drawn["edges"]}


@router.get("/{assistant_id}/schemas")
async def schemas(assistant_id: Known, supervisor: Supervised) -> dict[str, Any]:
    """Give the JSON Schemas of input, output and state; the run's options are described in the input's."""
    return await asyncio.to_thread(_schemas, supervisor.graph)


@router.get("/{assistant_id}/subgraphs")
async def subgraphs(assistant_id: Known) -> dict[str, Any]:
    """Give the graph's subgraphs: it has none."""
    return {}


@router.get("/{assistant_id}/subgraphs/{namespace}")
async def subgraph(assistant_id: Known, namespace: str) -> dict[str, Any]:
    """Give the subgraphs of a name: there are none."""
    return {}


@router.post("/{assistant_id}/versions")
async def versions(assistant_id: Known, body: Page) -> list[dict[str, Any]]:
    """List the assistant's versions: it has one."""
    return [ASSISTANT][body.offset : body.offset + body.limit]


def _schemas(graph: Graph) -> dict[str, Any]:
    given = graph.get_input_jsonschema()
    given.setdefault("properties", {})["options"] = Options.model_json_schema()
    return {
        "graph_id": GRAPH_ID,
        "input_schema": given,
        "output_schema": graph.get_output_jsonschema(),
        "state_schema": graph.get_output_jsonschema(),
        "config_schema": {"type": "object", "properties": {}},
        "context_schema": {"type": "object", "properties": {}},
    }
