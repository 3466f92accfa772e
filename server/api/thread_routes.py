"""What the web page and curl use: threads, their log, questions and answers, notes, stops, forks, diffs."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from graph.delivery import Delivery
from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from memory.records.threads import ThreadRow
from nodes.events import EVENT, AnyEvent, ApprovalRequired, Event
from server.api.dependencies import Configured, Supervised
from server.api.problems import Problem, responses
from server.api.schemas import TaskRequest, Text, ThreadId, begin
from server.api.sse import LAST_SEQ, last_seen, log_messages, stream

router = APIRouter(tags=["Threads"])

Id = Annotated[ThreadId, Path(description="A thread.")]


class Thread(BaseModel):
    """A thread with its newest run; `live` when a process runs it just now."""

    id: str
    task: str
    status: str
    repo: str
    branch: str | None
    created: str
    live: bool

    @classmethod
    def of(cls, row: ThreadRow) -> "Thread":
        """As it stands in the journal."""
        return cls(
            live=bool(row.owner), **{name: getattr(row, name) for name in cls.model_fields if name != "live"}
        )


class Run(BaseModel):
    """A run as it was taken on."""

    thread_id: str
    run_id: str
    status: str

    @classmethod
    def of(cls, row: RunRow) -> "Run":
        """As it stands in the journal."""
        return cls(thread_id=row.thread_id, run_id=row.id, status=row.status)


class Answer(BaseModel):
    """A human's answer to one question; an edit brings the plan, or a tool's params, to go on with."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "edit", "reject"]
    reason: str | None = None
    plan: dict[str, Any] | None = None
    params: dict[str, Any] | None = None


class Answers(BaseModel):
    """Answers by the ids of their questions: one, some or all of those that wait."""

    model_config = ConfigDict(extra="forbid")

    answers: dict[str, Answer] = Field(min_length=1)


class Note(BaseModel):
    """What a user wants the agents to know."""

    model_config = ConfigDict(extra="forbid")

    text: Text


class Cancelled(BaseModel):
    """Whether there was a run to stop."""

    cancelled: bool


class Forked(BaseModel):
    """The new thread."""

    thread_id: str


class ForkRequest(BaseModel):
    """Where to fork: at a checkpoint of the thread's history, else at its newest."""

    model_config = ConfigDict(extra="forbid")

    checkpoint_id: str | None = None


@router.get("/api/threads", responses=responses())
async def threads(supervisor: Supervised, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[Thread]:
    """List threads, newest first."""
    return [Thread.of(row) for row in (await supervisor.journal.threads.all())[:limit]]


@router.post("/api/threads", status_code=202, responses=responses(404, 409, 501))
async def start(body: TaskRequest, supervisor: Supervised, settings: Configured) -> Run:
    """Start a task and answer at once; its log tells the rest."""
    return Run.of((await begin(supervisor, settings, body)).run)


@router.get("/api/threads/{thread_id}", responses=responses(404))
async def thread(thread_id: Id, supervisor: Supervised) -> Thread:
    """Show one thread."""
    return Thread.of(await known(supervisor, thread_id))


@router.get("/api/events/schema", responses=responses())
async def schema() -> dict[str, Any]:
    """Give the JSON Schema of events: a union, discriminated by `type`."""
    return EVENT.json_schema()


@router.get(
    "/api/threads/{thread_id}/events",
    response_model=list[AnyEvent],
    responses=responses(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def log(
    thread_id: Id,
    request: Request,
    supervisor: Supervised,
    settings: Configured,
    after: Annotated[int, Query(ge=0, le=LAST_SEQ, description="The seq that was seen last.")] = 0,
) -> Response:
    """Follow the thread's log: what lies after the seq that was seen last, then what happens, until closed.

    With `Accept: application/json`, the list of what there is.
    """
    await known(supervisor, thread_id)
    seen = last_seen(request, after)
    if "application/json" in request.headers.get("accept", ""):
        body = ",".join(event.wire for event in await supervisor.journal.events.read(thread_id, seen))
        return Response(f"[{body}]", media_type="application/json")
    return stream(log_messages(supervisor.follow(thread_id, seen)), settings.reader_timeout)


@router.get("/api/threads/{thread_id}/approvals", responses=responses(404))
async def approvals(thread_id: Id, supervisor: Supervised) -> list[ApprovalRequired]:
    """List the questions that wait for an answer."""
    await known(supervisor, thread_id)
    return await supervisor.pending(thread_id)


@router.post("/api/threads/{thread_id}/approvals", responses=responses(404, 409))
async def answer(thread_id: Id, body: Answers, supervisor: Supervised) -> Run:
    """Answer one, some or all of the questions; the run goes on."""
    await known(supervisor, thread_id)
    given = {id: one.model_dump(exclude_none=True) for id, one in body.answers.items()}
    return Run.of(await supervisor.resume(thread_id, given))


@router.post("/threads/{thread_id}/messages", response_model=AnyEvent, responses=responses(404, 409))
@router.post("/api/threads/{thread_id}/messages", response_model=AnyEvent, responses=responses(404, 409))
async def note(thread_id: Id, body: Note, supervisor: Supervised) -> Event:
    """Add a note to a running task; the next call of an agent sees it."""
    await known(supervisor, thread_id)
    return await supervisor.note(thread_id, body.text)


@router.post("/api/threads/{thread_id}/cancel", responses=responses(404))
async def cancel(thread_id: Id, supervisor: Supervised) -> Cancelled:
    """Stop the thread's run; it can be resumed."""
    await known(supervisor, thread_id)
    return Cancelled(cancelled=await supervisor.cancel(thread_id))


@router.post("/api/threads/{thread_id}/resume", responses=responses(404, 409))
async def resume(thread_id: Id, supervisor: Supervised) -> Run:
    """Go on with a run that was stopped or died."""
    await known(supervisor, thread_id)
    return Run.of(await supervisor.resume(thread_id))


@router.post("/api/threads/{thread_id}/fork", status_code=201, responses=responses(404, 409))
async def fork(thread_id: Id, supervisor: Supervised, body: ForkRequest | None = None) -> Forked:
    """Make a new thread of this one's history, files included; both go on by themselves."""
    await known(supervisor, thread_id)
    return Forked(thread_id=await supervisor.fork(thread_id, body.checkpoint_id if body else None))


@router.get("/api/threads/{thread_id}/diff", responses=responses(404, 409))
async def diff(thread_id: Id, supervisor: Supervised) -> Response:
    """Give what the thread's newest result changed, as a unified diff."""
    await known(supervisor, thread_id)
    delivery = await Delivery.of_thread(supervisor.journal, thread_id)
    return Response(await delivery.diff(), media_type="text/x-diff; charset=utf-8")


async def known(supervisor: Supervisor, thread_id: str) -> ThreadRow:
    """The thread; a Problem where there is none."""
    row = await supervisor.journal.threads.get(thread_id)
    if row is None:
        raise Problem(404, "Unknown thread", f"there is no thread {thread_id}; GET /api/threads lists them")
    return row
