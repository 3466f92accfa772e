"""Routes of the web page and of curl: threads with their events, approvals, notes and forks."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from graph.approvals import Answerer
from graph.forgetting import forget
from graph.run_request import repository_bounds
from memory.records.runs import RunRow
from memory.records.threads import ThreadRow
from nodes.events import EVENT, AnyEvent, ApprovalRequired, Event
from server.api.dependencies import ClientDep, SupervisorDep, ThreadPath, find_thread
from server.api.problems import responses
from server.api.schemas import (
    AnswersBody,
    CancelResponse,
    ForgetResponse,
    ForkRequest,
    ForkResponse,
    NoteRequest,
    ResumeRequest,
    RunSummary,
    TaskRequest,
    ThreadSummary,
)
from server.api.sse import LAST_SEQ, event_messages, last_seen, sse_response
from server.api.task_submission import submit_task
from tools.workspace.opening import bounded

router = APIRouter(tags=["Threads"])


@router.get("/api/threads", response_model=list[ThreadSummary], responses=responses())
async def list_threads(
    supervisor: SupervisorDep,
    q: Annotated[str, Query(max_length=200, description="Words of the title, task, path or id.")] = "",
    repo: Annotated[str, Query(max_length=4096, description="The repository's path.")] = "",
    status: Annotated[list[str] | None, Query(max_length=20, description="One of these states.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[ThreadRow]:
    """List threads, newest first: all of them, or those that a search finds."""
    return await supervisor.journal.threads.find(q.split(), repo, tuple(status or ()), limit)


@router.post("/api/threads", status_code=202, response_model=RunSummary, responses=responses(404, 409, 501))
async def start(body: TaskRequest, supervisor: SupervisorDep) -> RunRow:
    """Start a task and answer at once. Follow its events for the outcome."""
    return (await submit_task(supervisor, body)).run


@router.get("/api/threads/{thread_id}", response_model=ThreadSummary, responses=responses(404))
async def show(thread_id: ThreadPath, supervisor: SupervisorDep) -> ThreadRow:
    """Show one thread."""
    return await find_thread(supervisor, thread_id)


@router.delete("/api/threads/{thread_id}", responses=responses(404, 409))
async def delete(thread_id: ThreadPath, supervisor: SupervisorDep) -> ForgetResponse:
    """Forget a thread: its branches, snapshots, proofs, records, and what its tasks taught.

    A thread that runs is refused. A branch that is checked out, or has commits of others, stays.
    """
    with bounded(repository_bounds(supervisor.settings)):
        forgotten = await forget(supervisor.history, thread_id)
    kept = {branch.name: branch.kept for branch in forgotten.branches if branch.kept}
    deleted = [branch.name for branch in forgotten.branches if not branch.kept]
    return ForgetResponse(branches=deleted, kept=kept, unapplied=forgotten.unapplied)


@router.get("/api/events/schema", responses=responses())
async def event_schema() -> dict[str, Any]:
    """Return the JSON Schema of events: a union, discriminated by `type`."""
    return EVENT.json_schema()


@router.get(
    "/api/threads/{thread_id}/events",
    response_model=list[AnyEvent],
    responses=responses(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow(
    thread_id: ThreadPath,
    request: Request,
    supervisor: SupervisorDep,
    after: Annotated[int, Query(ge=0, le=LAST_SEQ, description="The seq that was seen last.")] = 0,
) -> Response:
    """Stream the thread's events after the one that was seen last, then new ones until the client leaves.

    With `Accept: application/json`, return the list of the events so far.
    """
    await find_thread(supervisor, thread_id)  # a 404 must come before the first byte of a stream
    seen = last_seen(request, after)
    if "application/json" in request.headers.get("accept", ""):
        return StreamingResponse(
            _listed(supervisor.log.pages(thread_id, seen)), media_type="application/json"
        )
    events = supervisor.log.follow(thread_id, seen)
    return sse_response(event_messages(events), supervisor.settings.reader_timeout)


async def _listed(pages: AsyncIterable[list[Event]]) -> AsyncIterator[str]:
    """Yield a JSON list piece by piece, because a log may be larger than what fits into memory many times."""
    start = "["
    async for page in pages:
        yield start + ",".join(event.wire for event in page)
        start = ","
    yield "[]" if start == "[" else "]"


@router.get("/api/threads/{thread_id}/approvals", responses=responses(404))
async def list_approvals(thread_id: ThreadPath, supervisor: SupervisorDep) -> list[ApprovalRequired]:
    """List the questions that wait for an answer."""
    await find_thread(supervisor, thread_id)
    return await supervisor.pending(thread_id)


@router.post("/api/threads/{thread_id}/approvals", response_model=RunSummary, responses=responses(404, 409))
async def answer(
    thread_id: ThreadPath, body: AnswersBody, request: Request, supervisor: SupervisorDep, client: ClientDep
) -> RunRow:
    """Answer some or all of the open questions. The run continues."""
    answers = {id: answer.model_dump(exclude_none=True) for id, answer in body.answers.items()}
    # Browsers add this header to what a page of ours sends, and no script can set it.
    through = "page" if request.headers.get("sec-fetch-site") == "same-origin" else "HTTP"
    return await supervisor.resume(thread_id, answers, answerer=Answerer(through, client))


@router.post("/threads/{thread_id}/messages", response_model=AnyEvent, responses=responses(404, 409))
@router.post("/api/threads/{thread_id}/messages", response_model=AnyEvent, responses=responses(404, 409))
async def note(
    thread_id: ThreadPath, body: NoteRequest, supervisor: SupervisorDep, client: ClientDep
) -> Event:
    """Answer the question that the thread waits for, else add a note, which every agent's next call sees.

    A plain yes approves. Everything else refuses, and a plan is made again with these words as the reason.
    """
    answered = await supervisor.reply(thread_id, body.text, Answerer("chat", client))
    return answered or await supervisor.log.note(thread_id, body.text)


@router.post("/api/threads/{thread_id}/cancel", responses=responses(404))
async def cancel(thread_id: ThreadPath, supervisor: SupervisorDep) -> CancelResponse:
    """Cancel the thread's run. It can be resumed."""
    return CancelResponse(cancelled=await supervisor.cancel(thread_id))


@router.post("/api/threads/{thread_id}/resume", response_model=RunSummary, responses=responses(404, 409))
async def resume(
    thread_id: ThreadPath, supervisor: SupervisorDep, body: ResumeRequest | None = None
) -> RunRow:
    """Continue a run that was stopped, failed, or whose process died, or that gets a larger budget."""
    limits = body.options.model_dump(exclude_none=True) if body else {}
    return await supervisor.resume(thread_id, limits=limits)


@router.post("/api/threads/{thread_id}/fork", status_code=201, responses=responses(404, 409))
async def fork(
    thread_id: ThreadPath, supervisor: SupervisorDep, body: ForkRequest | None = None
) -> ForkResponse:
    """Copy this thread's history and files to a new thread. Both continue independently."""
    checkpoint = body.checkpoint_id if body else None
    return ForkResponse(thread_id=await supervisor.history.fork(thread_id, checkpoint))
