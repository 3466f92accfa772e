"""Runs of a thread, and runs that bring a thread of their own."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from nodes.events import ErrorReported
from server.api.dependencies import Configured, Supervised
from server.api.problems import Problem, responses
from server.api.schemas import Begun
from server.protocol.assistants import ASSISTANT_ID, GRAPH_ID
from server.protocol.begin import KEPT, begin, no_thread
from server.protocol.state import interrupts, plain_with
from server.protocol.statuses import RUN, ours
from server.protocol.wire import MOST, CancelMany, RunBody, not_served

router = APIRouter(tags=["runs"], responses=responses(404, 409, 501))

Action = Annotated[str, Query(include_in_schema=False)]

WAIT_SECONDS = 2.0
"""How often a waiting answer sends a blank, so that nothing between takes the connection for dead."""


def run_json(run: RunRow) -> dict[str, Any]:
    """A run as the SDKs' Run; what came of it is in its metadata."""
    kept = run.metadata.get(KEPT, {})
    own = {key: value for key, value in run.metadata.items() if key != KEPT}
    made = {"graph_id": GRAPH_ID, "assistant_id": ASSISTANT_ID, "outcome": run.status, "branch": run.branch}
    return {
        "run_id": run.id,
        "thread_id": run.thread_id,
        "assistant_id": ASSISTANT_ID,
        "created_at": run.started,
        "updated_at": run.finished or run.started,
        "status": RUN[run.status],
        "metadata": own | made,
        "kwargs": {"input": run.input, "stream_mode": kept.get("stream_mode", [])},
        "multitask_strategy": kept.get("multitask_strategy", "enqueue"),
    }


def headers(run: RunRow, what: str = "", query: str = "") -> dict[str, str]:
    """Where the run is, and (`what`) where to go on when the connection breaks."""
    place = f"/threads/{run.thread_id}/runs/{run.id}"
    return {"Content-Location": place} | ({"Location": f"{place}/{what}{query}"} if what else {})


async def find(supervisor: Supervisor, thread_id: str, run_id: str) -> RunRow:
    """The thread's run; 404 when it is not there."""
    run = await supervisor.journal.runs.get(run_id)
    if run is None or run.thread_id != thread_id:
        raise Problem(404, "No such run", f"there is no run {run_id} on thread {thread_id}")
    return run


@router.post("/threads/{thread_id}/runs")
async def create(thread_id: str, body: RunBody, supervisor: Supervised, settings: Configured) -> JSONResponse:
    """Begin or resume a run, and leave it alone."""
    run = (await begin(supervisor, settings, body, thread_id)).run
    return JSONResponse(run_json(run), headers=headers(run))


@router.post("/runs")
async def create_alone(body: RunBody, supervisor: Supervised, settings: Configured) -> JSONResponse:
    """Begin a run on a thread of its own, which stays."""
    run = (await begin(supervisor, settings, body, None)).run
    return JSONResponse(run_json(run), headers=headers(run))


@router.post("/runs/batch")
async def create_several(
    bodies: list[RunBody], supervisor: Supervised, settings: Configured
) -> list[dict[str, Any]]:
    """Begin several runs, each on a thread of its own."""
    return [run_json((await begin(supervisor, settings, body, None)).run) for body in bodies]


@router.post("/threads/{thread_id}/runs/wait")
async def wait(
    thread_id: str, body: RunBody, request: Request, supervisor: Supervised, settings: Configured
) -> StreamingResponse:
    """Begin or resume a run, and answer with the thread's values once it ends or waits."""
    begun = await begin(supervisor, settings, body, thread_id)
    return _answer(supervisor, begun, request, body.on_disconnect == "cancel")


@router.post("/runs/wait")
async def wait_alone(
    body: RunBody, request: Request, supervisor: Supervised, settings: Configured
) -> StreamingResponse:
    """Begin a run on a thread of its own, and answer with its values once it ends or waits."""
    begun = await begin(supervisor, settings, body, None)
    return _answer(supervisor, begun, request, body.on_disconnect == "cancel")


@router.get("/threads/{thread_id}/runs")
async def listing(
    thread_id: str,
    supervisor: Supervised,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
    status: Annotated[str | None, Query()] = None,
    select: Annotated[list[str] | None, Query()] = None,
) -> list[dict[str, Any]]:
    """List the thread's runs, newest first."""
    journal = supervisor.journal
    if await journal.threads.get(thread_id) is None:
        raise no_thread(thread_id)
    if status is not None and not ours(status, RUN):
        raise Problem(
            422, "Invalid request", f"there is no run status {status}; there are {set(RUN.values())}"
        )
    found = await journal.runs.of_thread(thread_id, limit=limit + offset if status is None else 1000)
    shown = [run_json(run) for run in found if status is None or RUN[run.status] == status]
    page = shown[offset : offset + limit]
    return [{key: value for key, value in one.items() if not select or key in select} for one in page]


@router.get("/threads/{thread_id}/runs/{run_id}")
async def get(thread_id: str, run_id: str, supervisor: Supervised) -> dict[str, Any]:
    """Give a run."""
    return run_json(await find(supervisor, thread_id, run_id))


@router.get("/threads/{thread_id}/runs/{run_id}/join")
async def join(
    thread_id: str, run_id: str, request: Request, supervisor: Supervised, cancel_on_disconnect: bool = False
) -> StreamingResponse:
    """Wait for a run to end or wait, and answer with the thread's values."""
    run = await find(supervisor, thread_id, run_id)
    return _answer(supervisor, Begun(run, 0), request, cancel_on_disconnect)


@router.post("/threads/{thread_id}/runs/{run_id}/cancel", responses={202: {"description": "Asked to stop"}})
async def cancel(
    thread_id: str, run_id: str, supervisor: Supervised, wait: bool = False, action: Action = "interrupt"
) -> Response:
    """Stop a run; the thread stays and can be resumed."""
    if action != "interrupt":
        raise not_served(f"cancel with action {action}")
    await find(supervisor, thread_id, run_id)
    if not await supervisor.cancel(thread_id, run_id, wait=wait):
        raise Problem(409, "Nothing to cancel", f"run {run_id} has ended already")
    if not wait:
        return Response(status_code=202)
    run = await find(supervisor, thread_id, run_id)
    return JSONResponse(await values(supervisor, run), headers=headers(run, "join"))


@router.post("/runs/cancel", status_code=204)
async def cancel_several(body: CancelMany, supervisor: Supervised, action: Action = "interrupt") -> Response:
    """Stop several runs of one thread."""
    if action != "interrupt":
        raise not_served(f"cancel with action {action}")
    for run_id in body.run_ids:
        await find(supervisor, body.thread_id, run_id)
    stopped = [await supervisor.cancel(body.thread_id, run_id, wait=False) for run_id in body.run_ids]
    if not any(stopped):
        raise Problem(409, "Nothing to cancel", "these runs have ended already")
    return Response(status_code=204)


@router.delete("/threads/{thread_id}/runs/{run_id}", status_code=204)
async def delete(thread_id: str, run_id: str, supervisor: Supervised) -> Response:
    """Take an ended run off its thread's list; what it did stays in the log, the state and its branch."""
    await find(supervisor, thread_id, run_id)
    if not await supervisor.journal.runs.delete(run_id):
        raise Problem(409, "Run unfinished", f"run {run_id} has not ended; cancel it first")
    return Response(status_code=204)


async def values(supervisor: Supervisor, run: RunRow) -> dict[str, Any]:
    """What waiting for a run gives: the values, or the interrupts that wait, or the error."""
    plain = plain_with(tuple(supervisor.settings.secrets()))
    if run.status == "failed":
        return {"__error__": await _error(supervisor, run)}
    snapshot = await supervisor.history.state(run.thread_id)
    if run.status == "waiting":
        asked = interrupts(snapshot, plain).values()
        return {"__interrupt__": [one for several in asked for one in several]}
    shown: dict[str, Any] = plain(snapshot.values)
    return shown


async def _error(supervisor: Supervisor, run: RunRow) -> dict[str, str]:
    told = {"error": "failed", "message": "the run failed"}
    for event in await supervisor.journal.events.read(run.thread_id):
        if event.run_id == run.id and isinstance(event.data, ErrorReported):
            told = {"error": event.data.kind, "message": event.data.message}
    return told


def _answer(supervisor: Supervisor, begun: Begun, request: Request, cancels: bool) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        waiting = asyncio.ensure_future(supervisor.wait(begun.run.id))
        try:
            while not (await asyncio.wait((waiting,), timeout=WAIT_SECONDS))[0]:
                yield b"\n"
                if cancels and await request.is_disconnected():
                    await supervisor.cancel(begun.run.thread_id, begun.run.id, wait=False)
                    return
            yield json.dumps(await values(supervisor, waiting.result())).encode()
        finally:
            waiting.cancel()

    return StreamingResponse(body(), media_type="application/json", headers=headers(begun.run, "join"))
