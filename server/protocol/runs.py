"""Routes for runs of a thread, and for stateless runs, which get a thread of their own."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from nodes.events import ErrorReported
from server.api.dependencies import ClientDep, SupervisorDep, ThreadPath, find_thread
from server.api.problems import Problem, responses
from server.protocol.assistants import ASSISTANT_ID, GRAPH_ID
from server.protocol.request_bodies import MAX_OFFSET, CancelMany, RunBody, not_served
from server.protocol.run_submission import METADATA_KEY, submit_or_resume
from server.protocol.state_json import RUN_STATUSES, own_statuses, read_state

router = APIRouter(tags=["runs"], responses=responses(404, 409, 501))

Action = Annotated[str, Query(include_in_schema=False)]

MOST_RUNS = 100
Batch = Annotated[list[RunBody], Field(max_length=MOST_RUNS)]

KEEP_ALIVE_SECONDS = 2.0
"""Interval of blanks in a waiting response, so that no proxy closes the connection."""


def run_json(run: RunRow) -> dict[str, Any]:
    """Convert a run to the SDKs' Run. Its outcome and branch are in the metadata."""
    stored = run.metadata.get(METADATA_KEY, {})
    labels = {key: value for key, value in run.metadata.items() if key != METADATA_KEY}
    own = {"graph_id": GRAPH_ID, "assistant_id": ASSISTANT_ID, "outcome": run.status, "branch": run.branch}
    return {
        "run_id": run.id,
        "thread_id": run.thread_id,
        "assistant_id": ASSISTANT_ID,
        "created_at": run.started,
        "updated_at": run.finished or run.started,
        "status": RUN_STATUSES[run.status],
        "metadata": labels | own,
        "kwargs": {"input": run.input, "stream_mode": stored.get("stream_mode", [])},
        "multitask_strategy": stored.get("multitask_strategy", "enqueue"),
    }


def location_headers(run: RunRow, path: str = "") -> dict[str, str]:
    """Return the headers with the address of a run, and with `path` below it for reconnection."""
    address = f"/threads/{run.thread_id}/runs/{run.id}"
    return {"Content-Location": address} | ({"Location": f"{address}/{path}"} if path else {})


async def find_run(supervisor: Supervisor, thread_id: str | None, run_id: str) -> RunRow:
    """Return a run of a thread, or of any thread for None. Raises Problem 404."""
    run = await supervisor.journal.runs.get(run_id)
    if run is None or thread_id not in (None, run.thread_id):
        where = f" on thread {thread_id}" if thread_id else ""
        raise Problem(404, "No such run", f"there is no run {run_id}{where}")
    return run


@router.post("/threads/{thread_id}/runs")
async def create(
    thread_id: ThreadPath, body: RunBody, supervisor: SupervisorDep, client: ClientDep
) -> JSONResponse:
    """Start or resume a run in the background."""
    run = (await submit_or_resume(supervisor, body, thread_id, client)).run
    return JSONResponse(run_json(run), headers=location_headers(run))


@router.post("/runs")
async def create_stateless(body: RunBody, supervisor: SupervisorDep) -> JSONResponse:
    """Start a run on a new thread, which stays."""
    run = (await submit_or_resume(supervisor, body, None)).run
    return JSONResponse(run_json(run), headers=location_headers(run))


@router.post("/runs/batch")
async def create_batch(bodies: Batch, supervisor: SupervisorDep) -> list[dict[str, Any]]:
    """Start several runs, each on a new thread."""
    return [run_json((await submit_or_resume(supervisor, body, None)).run) for body in bodies]


@router.post("/threads/{thread_id}/runs/wait")
async def wait(
    thread_id: ThreadPath, body: RunBody, request: Request, supervisor: SupervisorDep, client: ClientDep
) -> StreamingResponse:
    """Start or resume a run, and answer with the thread's values once it ends or waits."""
    run = (await submit_or_resume(supervisor, body, thread_id, client)).run
    return _wait(supervisor, run, request, body.on_disconnect == "cancel")


@router.post("/runs/wait")
async def wait_stateless(body: RunBody, request: Request, supervisor: SupervisorDep) -> StreamingResponse:
    """Start a run on a new thread, and answer with its values once it ends or waits."""
    run = (await submit_or_resume(supervisor, body, None)).run
    return _wait(supervisor, run, request, body.on_disconnect == "cancel")


@router.get("/threads/{thread_id}/runs")
async def list_runs(
    thread_id: ThreadPath,
    supervisor: SupervisorDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    status: Annotated[str | None, Query()] = None,
    select: Annotated[list[str] | None, Query()] = None,
) -> list[dict[str, Any]]:
    """List the thread's runs, newest first."""
    await find_thread(supervisor, thread_id)
    if status is not None and not own_statuses(status, RUN_STATUSES):
        detail = f"there is no run status {status}; there are {set(RUN_STATUSES.values())}"
        raise Problem(422, "Invalid request", detail)
    # Statuses are filtered here, because several of ours are one of the protocol's.
    rows = await supervisor.journal.runs.of_thread(
        thread_id, limit=limit + offset if status is None else 1000
    )
    runs = [run_json(run) for run in rows if status in (None, RUN_STATUSES[run.status])]
    page = runs[offset : offset + limit]
    return [{key: value for key, value in run.items() if not select or key in select} for run in page]


@router.get("/threads/{thread_id}/runs/{run_id}")
async def get(thread_id: ThreadPath, run_id: str, supervisor: SupervisorDep) -> dict[str, Any]:
    """Return a run."""
    return run_json(await find_run(supervisor, thread_id, run_id))


@router.get("/threads/{thread_id}/runs/{run_id}/join")
async def join(
    thread_id: ThreadPath,
    run_id: str,
    request: Request,
    supervisor: SupervisorDep,
    cancel_on_disconnect: bool = False,
) -> StreamingResponse:
    """Answer with the thread's values once a run has ended or waits."""
    run = await find_run(supervisor, thread_id, run_id)
    return _wait(supervisor, run, request, cancel_on_disconnect)


@router.post(
    "/threads/{thread_id}/runs/{run_id}/cancel", responses={202: {"description": "Cancellation requested"}}
)
async def cancel(
    thread_id: ThreadPath,
    run_id: str,
    supervisor: SupervisorDep,
    wait: bool = False,
    action: Action = "interrupt",
) -> Response:
    """Cancel a run. Its thread stays, and the run can be resumed."""
    if action != "interrupt":
        raise not_served(f"cancel with action {action}")
    await find_run(supervisor, thread_id, run_id)
    if not await supervisor.cancel(thread_id, run_id, wait=wait):
        raise Problem(409, "Nothing to cancel", f"run {run_id} has ended already")
    if not wait:
        return Response(status_code=202)
    run = await find_run(supervisor, thread_id, run_id)
    return JSONResponse(await _outcome(supervisor, run), headers=location_headers(run, "join"))


@router.post("/runs/cancel", status_code=204)
async def cancel_many(body: CancelMany, supervisor: SupervisorDep, action: Action = "interrupt") -> Response:
    """Cancel several runs of one thread."""
    if action != "interrupt":
        raise not_served(f"cancel with action {action}")
    # All are looked up first, so that an unknown id cancels none.
    for run_id in body.run_ids:
        await find_run(supervisor, body.thread_id, run_id)
    cancelled = [await supervisor.cancel(body.thread_id, run_id, wait=False) for run_id in body.run_ids]
    if not any(cancelled):
        raise Problem(409, "Nothing to cancel", "these runs have ended already")
    return Response(status_code=204)


@router.delete("/threads/{thread_id}/runs/{run_id}", status_code=204)
async def delete(thread_id: ThreadPath, run_id: str, supervisor: SupervisorDep) -> Response:
    """Remove an ended run from its thread's list. Its events, its state and its branch stay."""
    await find_run(supervisor, thread_id, run_id)
    if not await supervisor.journal.runs.delete(run_id):
        raise Problem(409, "Run unfinished", f"run {run_id} has not ended; cancel it first")
    return Response(status_code=204)


async def _outcome(supervisor: Supervisor, run: RunRow) -> dict[str, Any]:
    """Return the values after a run, or the interrupts that it waits for, or its error."""
    if run.status == "failed":
        events = await supervisor.journal.events.read(run.thread_id)
        errors = [one.data for one in events if one.run_id == run.id and isinstance(one.data, ErrorReported)]
        kind, message = (errors[-1].kind, errors[-1].message) if errors else ("failed", "the run failed")
        return {"__error__": {"error": kind, "message": message}}
    state = await read_state(supervisor, run.thread_id)
    if run.status == "waiting":
        return {"__interrupt__": state["interrupts"]}
    return dict(state["values"])


def _wait(supervisor: Supervisor, run: RunRow, request: Request, cancels: bool) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        waiting = asyncio.ensure_future(supervisor.wait(run.id))
        try:
            # Blanks before JSON are allowed, so a client that parses the whole body does not notice them.
            while not (await asyncio.wait((waiting,), timeout=KEEP_ALIVE_SECONDS))[0]:
                yield b"\n"
                if cancels and await request.is_disconnected():
                    await supervisor.cancel(run.thread_id, run.id, wait=False)
                    return
            yield json.dumps(await _outcome(supervisor, waiting.result())).encode()
        finally:
            waiting.cancel()

    headers = location_headers(run, "join")
    return StreamingResponse(body(), media_type="application/json", headers=headers)
