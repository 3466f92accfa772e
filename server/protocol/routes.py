"""All routes of the protocol, and refusals of the parts that this server lacks."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

from server.api.problems import responses
from server.protocol import assistants, runs, streams, threads
from server.protocol.request_bodies import not_served

router = APIRouter()


@router.get("/ok", tags=["system"], responses=responses())
async def ok() -> dict[str, bool]:
    """Report that the server answers."""
    return {"ok": True}


@router.get("/info", tags=["system"], responses=responses())
async def info() -> dict[str, Any]:
    """Return the server's versions and the features of the protocol that it has."""
    # The SDKs read the flags to decide which features they offer.
    flags = {"assistants": True, "crons": False, "store": False, "langsmith": False, "strict_resume": True}
    versions = {"version": version("autocode-ai"), "langgraph_py_version": version("langgraph")}
    return {**versions, "flags": flags, "host": {"kind": "self-hosted"}}


for routes in (assistants, threads, streams, runs):
    router.include_router(routes.router)

UNSERVED = {
    "crons": {"/runs/crons": "GET POST", "/runs/crons/{rest:path}": "GET POST PATCH DELETE",
              "/threads/{thread_id}/runs/crons": "GET POST"},
    "store": {"/store/{rest:path}": "GET POST PUT DELETE"},
    "prune: DELETE /threads/ID removes one thread": {"/threads/prune": "POST"},
    "assistants of your own": {"/assistants": "POST"},
    "changing the assistant": {"/assistants/{assistant_id}": "PATCH DELETE",
                               "/assistants/{assistant_id}/latest": "POST"},
    "the stream of a thread: join its runs": {"/threads/{thread_id}/stream": "GET POST"},
    "event streaming v2": {"/threads/{thread_id}/stream/events": "GET POST",
                           "/threads/{thread_id}/commands": "GET POST"},
    "patching a state's metadata": {"/threads/{thread_id}/state": "PATCH"},
    "the storage of a thread": {"/threads/{thread_id}/storage": "GET POST PUT DELETE"},
}  # fmt: skip
"""Features of the SDKs that are not served, with their paths and methods. Other methods get a 405."""


def _refusal(feature: str) -> Any:
    async def refuse() -> None:
        raise not_served(feature)

    return refuse


for feature, paths in UNSERVED.items():
    for path, methods in paths.items():
        router.add_api_route(path, _refusal(feature), methods=methods.split(), include_in_schema=False)
