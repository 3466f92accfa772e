"""Routes of what a thread has delivered: its diff, its way into the checkout and back."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from graph.delivery import Delivery, undo
from graph.errors import RunnerError, UnknownRun
from graph.supervisor import Supervisor
from server.api.dependencies import SupervisorDep, ThreadPath, find_thread
from server.api.problems import Problem, responses
from server.api.schemas import (
    ApplyRequest,
    ApplyResponse,
    ChangedFileSummary,
    ChangesResponse,
    HunkSummary,
    UndoResponse,
)
from server.api.task_submission import check_repository
from tools.workspace import ChangedFile, FileHunk, Outdated, Selection, shown_path

router = APIRouter(tags=["Threads"])


@router.get("/api/threads/{thread_id}/diff", responses=responses(404, 409))
async def diff(
    thread_id: ThreadPath,
    supervisor: SupervisorDep,
    run_id: Annotated[str | None, Query(description="A run whose change alone is wanted.")] = None,
) -> Response:
    """Return what the thread has delivered and nobody has applied, or one run's change, as a unified diff."""
    delivery = await _delivered(supervisor, thread_id, run_id)
    return Response(await delivery.diff(), media_type="text/x-diff; charset=utf-8")


@router.get("/api/threads/{thread_id}/file", responses=responses(404, 409))
async def show_file(
    thread_id: ThreadPath,
    supervisor: SupervisorDep,
    path: Annotated[str, Query(max_length=4096, description="A file in the diff.")],
    run_id: Annotated[str | None, Query(description="A run whose change alone is wanted.")] = None,
) -> Response:
    """Return the text of a changed file with the change, for the lines that a diff leaves out."""
    text = await (await _delivered(supervisor, thread_id, run_id)).text(path)
    if text is None:
        raise Problem(404, "Unknown file", f"the result has no changed text file {path}")
    return Response(text, media_type="text/plain; charset=utf-8")


@router.get("/api/threads/{thread_id}/changes", response_model=ChangesResponse, responses=responses(404, 409))
async def changes(thread_id: ThreadPath, supervisor: SupervisorDep) -> Response:
    """Return the files and hunks that nobody has applied, in the order of the diff, with ids to name them."""
    delivery = await Delivery.of_thread(supervisor.journal, thread_id)
    id, files = await delivery.changes_id(), await delivery.changed_files()

    def body() -> str:
        return ChangesResponse(
            id=id,
            verified=delivery.verified,
            branch=delivery.branch,
            files=[_summary(file) for file in files],
            undo=delivery.applied is not None,
        ).model_dump_json()

    # Thousands of hunks would block the event loop.
    return Response(await asyncio.to_thread(body), media_type="application/json")


@router.post("/api/threads/{thread_id}/apply", responses=responses(404, 409))
async def apply(
    thread_id: ThreadPath, supervisor: SupervisorDep, body: ApplyRequest | None = None
) -> ApplyResponse:
    """Apply what the thread has delivered and nobody has applied, or files and hunks of it, to the checkout.

    All that is chosen is applied, or nothing. What is left can be applied later.
    """
    body = body or ApplyRequest()
    await _check_repository(supervisor, thread_id)
    delivery = await Delivery.of_thread(supervisor.journal, thread_id)
    if not (delivery.verified or body.unverified):
        raise RunnerError(f"{delivery.branch} is not verified, so nothing was applied")
    if body.changes is not None and body.changes != await delivery.changes_id():
        raise Outdated("the changes are others than those with this id, so nothing was applied")
    selection = _selection(body)
    if selection is None and await delivery.is_empty():
        return ApplyResponse(paths=[])
    paths = await delivery.apply(supervisor.settings.home, selection)
    return ApplyResponse(paths=[shown_path(path) for path in paths])


@router.post("/api/threads/{thread_id}/undo", responses=responses(404, 409))
async def undo_apply(thread_id: ThreadPath, supervisor: SupervisorDep) -> UndoResponse:
    """Take back what was applied last. Your other changes stay. Repeat it to go further back.

    Nothing is changed if the same lines have changed since.
    """
    await _check_repository(supervisor, thread_id)
    undone = await undo(supervisor.journal, thread_id, supervisor.settings.home)
    committed = [shown_path(path) for path in undone.committed]
    return UndoResponse(paths=[shown_path(path) for path in undone.paths], committed=committed)


async def _check_repository(supervisor: Supervisor, thread_id: str) -> None:
    thread = await find_thread(supervisor, thread_id)
    # Threads of the command line may work where this server must not write.
    await asyncio.to_thread(check_repository, supervisor.settings, thread.repo)


def _selection(body: ApplyRequest) -> Selection | None:
    if body.files is None and body.hunks is None:
        return None
    hunks = {path: frozenset(ids) for path, ids in (body.hunks or {}).items()}
    if selection := Selection(frozenset(body.files or ()), hunks):
        return selection
    raise Problem(
        422, "Invalid request", "files, hunks: nothing is chosen; leave both out to apply everything"
    )


def _summary(file: ChangedFile) -> ChangedFileSummary:
    status = "added" if file.old is None else "deleted" if file.new is None else "modified"
    other = shown_path(file.other) if file.other else None
    hunks = [_hunk(hunk) for hunk in file.hunks]
    return ChangedFileSummary(path=file.shown, status=status, other=other, hunks=hunks)


def _hunk(hunk: FileHunk) -> HunkSummary:
    (old_start, old_lines), (new_start, new_lines) = hunk.old, hunk.new
    return HunkSummary(
        id=hunk.id,
        header=hunk.header,
        old_start=old_start,
        old_lines=old_lines,
        new_start=new_start,
        new_lines=new_lines,
        added=hunk.added,
        removed=hunk.removed,
    )


async def _delivered(supervisor: Supervisor, thread_id: str, run_id: str | None) -> Delivery:
    if run_id is None:
        return await Delivery.of_thread(supervisor.journal, thread_id)
    run = await supervisor.run(run_id)
    if run.thread_id != thread_id:
        raise UnknownRun(f"there is no run {run_id} on thread {thread_id}")
    delivery = await Delivery.of_run(run)
    if delivery is None:
        raise RunnerError(f"run {run_id} has made no branch")
    return delivery
