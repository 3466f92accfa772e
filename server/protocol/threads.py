"""Threads: create, find, label, delete, copy; their state, its history and its change by hand."""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Header, Query, Response

from graph.supervisor import Supervisor
from memory.records.threads import Order, ThreadRow
from server.api.dependencies import Supervised
from server.api.problems import Problem, responses
from server.protocol.begin import check_newest, no_thread
from server.protocol.state import Plain, at, interrupts, plain_with, thread_state
from server.protocol.statuses import THREAD, ours
from server.protocol.wire import (
    Checkpoint,
    HistorySearch,
    StateAt,
    StateUpdate,
    ThreadCreate,
    ThreadPatch,
    ThreadSearch,
    not_served,
)

router = APIRouter(prefix="/threads", tags=["threads"], responses=responses(404, 409, 501))

ORDERS: dict[str | None, Order] = {
    None: "created",
    "created_at": "created",
    "updated_at": "updated",
    "state_updated_at": "updated",
    "thread_id": "id",
    "status": "status",
}
Include = Annotated[str | None, Query(include_in_schema=False)]
Selected = Annotated[list[str] | None, Query()]


@router.post("")
async def create(body: ThreadCreate, supervisor: Supervised) -> dict[str, Any]:
    """Create a thread."""
    journal, thread_id = supervisor.journal, body.thread_id or str(uuid4())
    made = await journal.threads.create(thread_id, _labels(body.metadata))
    if not made and body.if_exists != "do_nothing":
        raise Problem(409, "Thread exists", f"there is a thread {thread_id} already; choose another id")
    return await _thread(supervisor, thread_id)


@router.post("/search")
async def search(body: ThreadSearch, supervisor: Supervised) -> list[dict[str, Any]]:
    """List the threads that match, newest first."""
    return [await _shown(supervisor, row, body.select) for row in await _found(supervisor, body)]


@router.post("/count")
async def count(body: ThreadSearch, supervisor: Supervised) -> int:
    """Count the threads that match."""
    return len(await _found(supervisor, body.model_copy(update={"limit": 1_000_000, "offset": 0})))


@router.get("/{thread_id}")
async def get(thread_id: str, supervisor: Supervised, include: Include = None) -> dict[str, Any]:
    """Give a thread with its newest values."""
    if include:
        raise not_served(f"include={include}")
    return await _thread(supervisor, thread_id)


@router.patch("/{thread_id}", response_model=None, responses={204: {"description": "Done"}})
async def patch(
    thread_id: str, body: ThreadPatch, supervisor: Supervised, prefer: Annotated[str, Header()] = ""
) -> dict[str, Any] | Response:
    """Merge metadata into a thread's."""
    if not await supervisor.journal.threads.label(thread_id, _labels(body.metadata)):
        raise no_thread(thread_id)
    return Response(status_code=204) if prefer == "return=minimal" else await _thread(supervisor, thread_id)


@router.delete("/{thread_id}", status_code=204)
async def delete(thread_id: str, supervisor: Supervised) -> Response:
    """Stop a thread's runs and forget it; its delivered branches stay."""
    await _row(supervisor, thread_id)
    for run in reversed(await supervisor.journal.runs.of_thread(thread_id)):
        if run.unfinished:
            await supervisor.cancel(thread_id, run.id)
    await supervisor.history.delete(thread_id)
    return Response(status_code=204)


@router.post("/{thread_id}/copy")
async def copy(thread_id: str, supervisor: Supervised) -> dict[str, Any]:
    """Make a new thread of the newest state, its files included."""
    row, new = await _row(supervisor, thread_id), str(uuid4())
    if (await supervisor.history.state(thread_id)).created_at:
        new = await supervisor.fork(thread_id)
        await supervisor.journal.threads.label(new, row.metadata)
    else:
        await supervisor.journal.threads.create(new, row.metadata, row.repo)
    return await _thread(supervisor, new)


@router.get("/{thread_id}/state")
async def state(thread_id: str, supervisor: Supervised, select: Selected = None) -> dict[str, Any]:
    """Give the newest state."""
    return await _state(supervisor, thread_id, None, select)


@router.get("/{thread_id}/state/{checkpoint_id}")
async def state_at(
    thread_id: str, checkpoint_id: str, supervisor: Supervised, select: Selected = None
) -> dict[str, Any]:
    """Give the state at a checkpoint."""
    return await _state(supervisor, thread_id, checkpoint_id, select)


@router.post("/{thread_id}/state/checkpoint")
async def state_at_checkpoint(thread_id: str, body: StateAt, supervisor: Supervised) -> dict[str, Any]:
    """Give the state at a checkpoint."""
    return await _state(supervisor, thread_id, _place(body.checkpoint), body.select)


@router.post("/{thread_id}/state")
async def update(thread_id: str, body: StateUpdate, supervisor: Supervised) -> dict[str, Any]:
    """Add to the thread's messages by hand: the rest of the state is what proofs rest on."""
    await _row(supervisor, thread_id)
    place = body.checkpoint_id or (_place(body.checkpoint) if body.checkpoint else None)
    await check_newest(supervisor, thread_id, place)
    here = at(await supervisor.history.update(thread_id, body.values or {}))
    return {"checkpoint": here, "configurable": here, "checkpoint_id": here and here["checkpoint_id"]}


@router.post("/{thread_id}/history")
async def history(thread_id: str, body: HistorySearch, supervisor: Supervised) -> list[dict[str, Any]]:
    """List the thread's states, newest first."""
    return await _history(supervisor, thread_id, body)


@router.get("/{thread_id}/history")
async def history_plain(
    thread_id: str,
    supervisor: Supervised,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    before: str | None = None,
) -> list[dict[str, Any]]:
    """List the thread's states, newest first."""
    return await _history(supervisor, thread_id, HistorySearch(limit=limit, before=before))


async def _history(supervisor: Supervisor, thread_id: str, body: HistorySearch) -> list[dict[str, Any]]:
    await _row(supervisor, thread_id)
    found = await supervisor.history.states(thread_id, body.limit, _before(body))
    plain = _plain(supervisor)
    shown = await asyncio.to_thread(lambda: [thread_state(one, plain) for one in found])
    return [_selected(one, body.select) for one in shown]


def _before(body: HistorySearch) -> str | None:
    before = body.before
    if isinstance(before, dict):
        configurable = before.get("configurable")
        found = before.get("checkpoint_id") or (configurable or {}).get("checkpoint_id")
        return str(found) if found else None
    return before.checkpoint_id if isinstance(before, Checkpoint) else before


def _place(checkpoint: Checkpoint) -> str | None:
    if checkpoint.checkpoint_ns:
        detail = "there are no subgraphs, and so no checkpoint_ns but the empty one"
        raise Problem(404, "No such checkpoint", detail)
    return checkpoint.checkpoint_id


async def _row(supervisor: Supervisor, thread_id: str) -> ThreadRow:
    row = await supervisor.journal.threads.get(thread_id)
    if row is None:
        raise no_thread(thread_id)
    return row


async def _found(supervisor: Supervisor, body: ThreadSearch) -> list[ThreadRow]:
    journal = supervisor.journal
    if body.ids is not None:
        rows = [await journal.threads.get(thread_id) for thread_id in body.ids[:1000]]
        status = ours(body.status, THREAD) if body.status else tuple(THREAD)
        wanted = (body.metadata or {}).items()
        found = [row for row in rows if row and row.status in status]
        found = [row for row in found if all(row.metadata.get(k) == v for k, v in wanted)]
        return found[body.offset : body.offset + body.limit]
    return await journal.threads.search(
        body.metadata,
        ours(body.status, THREAD) if body.status else (),
        body.limit,
        body.offset,
        ORDERS[body.sort_by],
        ascending=body.sort_order == "asc",
    )


async def _thread(supervisor: Supervisor, thread_id: str) -> dict[str, Any]:
    return await _shown(supervisor, await _row(supervisor, thread_id), None)


async def _shown(supervisor: Supervisor, row: ThreadRow, select: list[str] | None) -> dict[str, Any]:
    """A thread as the SDKs' Thread; its state is read only where somebody wants it."""
    shown: dict[str, Any] = {
        "thread_id": row.id,
        "created_at": row.created,
        "updated_at": row.updated,
        "state_updated_at": row.updated,
        "metadata": row.metadata,
        "status": THREAD[row.status],
        "config": {},
    }
    if not select or {"values", "interrupts"} & set(select):
        plain, snapshot = _plain(supervisor), await supervisor.history.state(row.id)
        shown["values"] = plain(snapshot.values) or None
        shown["interrupts"] = interrupts(snapshot, plain)
    return {key: value for key, value in shown.items() if not select or key in select}


async def _state(
    supervisor: Supervisor, thread_id: str, checkpoint_id: str | None, select: list[str] | None
) -> dict[str, Any]:
    await _row(supervisor, thread_id)
    snapshot = await supervisor.history.state(thread_id, checkpoint_id)
    return _selected(await asyncio.to_thread(thread_state, snapshot, _plain(supervisor)), select)


def _selected(shown: dict[str, Any], select: list[str] | None) -> dict[str, Any]:
    """The fields asked for; `values.KEY` asks for one of the values."""
    if not select:
        return shown
    keys = [name.removeprefix("values.") for name in select if name.startswith("values.")]
    chosen = {name: shown[name] for name in select if name in shown}
    if keys and "values" not in chosen:
        chosen["values"] = {key: shown["values"][key] for key in keys if key in shown["values"]}
    return chosen


def _labels(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata without what clients send as null: they mean that it is not there."""
    return {key: value for key, value in metadata.items() if value is not None}


def _plain(supervisor: Supervisor) -> Plain:
    return plain_with(tuple(supervisor.settings.secrets()))
