"""Routes for threads: create, search, patch, delete and copy them, and read and update their state."""

from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Header, Query, Response

from graph.errors import UnknownThread
from graph.supervisor import Supervisor
from memory.records.labels import contains
from memory.records.threads import Order, ThreadRow
from server.api.dependencies import SupervisorDep, ThreadPath, find_thread
from server.api.problems import Problem, responses
from server.protocol.assistants import ASSISTANT_ID, GRAPH_ID
from server.protocol.request_bodies import (
    CheckpointBody,
    HistorySearch,
    StateQuery,
    StateUpdate,
    ThreadCreate,
    ThreadPatch,
    ThreadSearch,
    not_served,
)
from server.protocol.run_submission import check_newest
from server.protocol.state_json import THREAD_STATUSES, checkpoint_of, own_statuses, read_state, read_states

router = APIRouter(prefix="/threads", tags=["threads"], responses=responses(404, 409, 501))

ORDERS: dict[str | None, Order] = {
    None: "created",
    "created_at": "created",
    "updated_at": "updated",
    "state_updated_at": "updated",
    "thread_id": "id",
    "status": "status",
}
ALL = 1_000_000
LABELS = {"graph_id": GRAPH_ID, "assistant_id": ASSISTANT_ID}
"""LangGraph's server labels a thread so when a run begins on it, and chat clients search for these labels."""
Include = Annotated[str | None, Query(include_in_schema=False)]
Select = Annotated[list[str] | None, Query()]


@router.post("")
async def create(body: ThreadCreate, supervisor: SupervisorDep) -> dict[str, Any]:
    """Create a thread."""
    thread_id = body.thread_id or str(uuid4())
    created = await supervisor.journal.threads.create(thread_id, _without_nulls(body.metadata))
    if not created and body.if_exists != "do_nothing":
        raise Problem(409, "Thread exists", f"thread {thread_id} exists already; choose another id")
    return await _thread_json(supervisor, thread_id)


@router.post("/search")
async def search(body: ThreadSearch, supervisor: SupervisorDep) -> list[dict[str, Any]]:
    """List the matching threads, newest first."""
    return [await _row_json(supervisor, row, body.select) for row in await _matching(supervisor, body)]


@router.post("/count")
async def count(body: ThreadSearch, supervisor: SupervisorDep) -> int:
    """Count the matching threads."""
    return len(await _matching(supervisor, body.model_copy(update={"limit": ALL, "offset": 0})))


@router.get("/{thread_id}")
async def get(thread_id: ThreadPath, supervisor: SupervisorDep, include: Include = None) -> dict[str, Any]:
    """Return a thread with its newest values."""
    if include:
        raise not_served(f"include={include}")
    return await _thread_json(supervisor, thread_id)


@router.patch("/{thread_id}", response_model=None, responses={204: {"description": "Done"}})
async def patch(
    thread_id: ThreadPath, body: ThreadPatch, supervisor: SupervisorDep, prefer: Annotated[str, Header()] = ""
) -> dict[str, Any] | Response:
    """Merge metadata into a thread's."""
    if not await supervisor.journal.threads.label(thread_id, _without_nulls(body.metadata)):
        raise UnknownThread(f"there is no thread {thread_id}")
    if prefer == "return=minimal":
        return Response(status_code=204)
    return await _thread_json(supervisor, thread_id)


@router.delete("/{thread_id}", status_code=204)
async def delete(thread_id: ThreadPath, supervisor: SupervisorDep) -> Response:
    """Cancel a thread's runs and delete it. Its delivered branches stay."""
    await find_thread(supervisor, thread_id)
    for run in reversed(await supervisor.journal.runs.of_thread(thread_id)):
        if run.unfinished:
            await supervisor.cancel(thread_id, run.id)
    await supervisor.history.delete(thread_id)
    return Response(status_code=204)


@router.post("/{thread_id}/copy")
async def copy(thread_id: ThreadPath, supervisor: SupervisorDep) -> dict[str, Any]:
    """Copy a thread with its newest state and files."""
    row, new = await find_thread(supervisor, thread_id), str(uuid4())
    if (await supervisor.history.state(thread_id)).created_at:
        new = await supervisor.history.fork(thread_id)
        await supervisor.journal.threads.label(new, row.metadata)
    else:  # no run has saved a checkpoint to fork
        await supervisor.journal.threads.create(new, row.metadata, row.repo)
        await supervisor.journal.threads.remember(new, row.options)
    return await _thread_json(supervisor, new)


@router.get("/{thread_id}/state")
async def state(thread_id: ThreadPath, supervisor: SupervisorDep, select: Select = None) -> dict[str, Any]:
    """Return the newest state."""
    return _selected(await read_state(supervisor, thread_id), select)


@router.get("/{thread_id}/state/{checkpoint_id}")
async def state_at(
    thread_id: ThreadPath, checkpoint_id: str, supervisor: SupervisorDep, select: Select = None
) -> dict[str, Any]:
    """Return the state at a checkpoint."""
    return _selected(await read_state(supervisor, thread_id, checkpoint_id), select)


@router.post("/{thread_id}/state/checkpoint")
async def state_at_checkpoint(
    thread_id: ThreadPath, body: StateQuery, supervisor: SupervisorDep
) -> dict[str, Any]:
    """Return the state at a checkpoint."""
    return _selected(await read_state(supervisor, thread_id, _checkpoint_id(body.checkpoint)), body.select)


@router.post("/{thread_id}/state")
async def update_state(thread_id: ThreadPath, body: StateUpdate, supervisor: SupervisorDep) -> dict[str, Any]:
    """Add to the thread's messages. The rest of the state is read-only, because proofs rest on it."""
    await find_thread(supervisor, thread_id)
    checkpoint_id = body.checkpoint_id or (_checkpoint_id(body.checkpoint) if body.checkpoint else None)
    await check_newest(supervisor, thread_id, checkpoint_id)
    snapshot = await supervisor.history.update(thread_id, body.values or {})
    checkpoint = checkpoint_of(snapshot.config)
    return {
        "checkpoint": checkpoint,
        "configurable": checkpoint,
        "checkpoint_id": checkpoint and checkpoint["checkpoint_id"],
    }


@router.post("/{thread_id}/history")
async def search_history(
    thread_id: ThreadPath, body: HistorySearch, supervisor: SupervisorDep
) -> list[dict[str, Any]]:
    """List the thread's states, newest first."""
    states = await read_states(supervisor, thread_id, body.limit, body.before_id)
    return [_selected(state, body.select) for state in states]


@router.get("/{thread_id}/history")
async def get_history(
    thread_id: ThreadPath,
    supervisor: SupervisorDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    before: str | None = None,
) -> list[dict[str, Any]]:
    """List the thread's states, newest first."""
    return await read_states(supervisor, thread_id, limit, before)


def _checkpoint_id(checkpoint: CheckpointBody) -> str | None:
    if checkpoint.checkpoint_ns:
        detail = "the graph has no subgraphs, so checkpoint_ns must be empty"
        raise Problem(404, "No such checkpoint", detail)
    return checkpoint.checkpoint_id


async def _matching(supervisor: Supervisor, body: ThreadSearch) -> list[ThreadRow]:
    statuses = own_statuses(body.status, THREAD_STATUSES) if body.status else ()
    if body.ids is None:
        order, ascending = ORDERS[body.sort_by], body.sort_order == "asc"
        return await supervisor.journal.threads.search(
            body.metadata, statuses, body.limit, body.offset, order, ascending=ascending, of_runs=LABELS
        )
    rows = [await supervisor.journal.threads.get(thread_id) for thread_id in body.ids[:1000]]
    matching = [
        row
        for row in rows
        if row
        and (not statuses or row.status in statuses)
        and contains(row.labels(LABELS), body.metadata or {})
    ]
    return matching[body.offset : body.offset + body.limit]


async def _thread_json(supervisor: Supervisor, thread_id: str) -> dict[str, Any]:
    return await _row_json(supervisor, await find_thread(supervisor, thread_id), None)


async def _row_json(supervisor: Supervisor, row: ThreadRow, select: list[str] | None) -> dict[str, Any]:
    """Convert a thread to the SDKs' Thread. Its state is read only if it is selected."""
    thread: dict[str, Any] = {
        "thread_id": row.id,
        "created_at": row.created,
        "updated_at": row.updated,
        "state_updated_at": row.updated,
        "metadata": row.labels(LABELS),
        "status": THREAD_STATUSES[row.status],
        "config": {},
    }
    if not select or {"values", "interrupts"} & set(select):
        state = await read_state(supervisor, row.id)
        thread["values"] = state["values"] or None
        thread["interrupts"] = {
            task["id"]: task["interrupts"] for task in state["tasks"] if task["interrupts"]
        }
    return {key: value for key, value in thread.items() if not select or key in select}


def _selected(state: dict[str, Any], select: list[str] | None) -> dict[str, Any]:
    """Return the selected fields. `values.KEY` selects one of the values."""
    if not select:
        return state
    # LangGraph's SDKs select single values with a dotted name.
    keys = [name.removeprefix("values.") for name in select if name.startswith("values.")]
    selected = {name: state[name] for name in select if name in state}
    if keys and "values" not in selected:
        selected["values"] = {key: state["values"][key] for key in keys if key in state["values"]}
    return selected


def _without_nulls(metadata: dict[str, Any]) -> dict[str, Any]:
    """Drop keys that a client sends as null, which means that they are absent."""
    return {key: value for key, value in metadata.items() if value is not None}
