"""The original's API: run a task, or steps, and get the results at once or as a stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from graph.delivery import Delivery
from graph.run_request import scratch_folder
from graph.settings import Settings
from graph.supervisor import Supervisor
from nodes.events import Event
from server.api.dependencies import Configured, Supervised
from server.api.problems import responses
from server.api.results import StepOutput, Told
from server.api.schemas import Begun, StepsRequest, StreamRequest, TaskRequest, begin
from server.api.sse import message, stream
from server.api.transcript import Transcript

router = APIRouter(prefix="/api/agent", tags=["The original's API"])


class RunResponse(BaseModel):
    """How a run ended; where it had a scratch repository, with the files that it changed and the diff.

    A file that is null was deleted, is too large or no text.
    """

    results: list[StepOutput]
    thread_id: str
    run_id: str
    status: str
    branch: str | None = None
    proof: dict[str, Any] | None = None
    files: dict[str, str | None] | None = None
    diff: str | None = None


@router.post("/run", responses=responses(404, 409))
async def run(body: TaskRequest, supervisor: Supervised, settings: Configured) -> RunResponse:
    """Carry out a task and answer with its results; the run goes on when the client goes away."""
    begun = await begin(supervisor, settings, body)
    await supervisor.wait(begun.run.id)
    return await _response(supervisor, settings, begun)


@router.post("/run_parallel", responses=responses(404, 409, 501))
async def run_parallel(body: StepsRequest, supervisor: Supervised, settings: Configured) -> RunResponse:
    """Carry out steps without a planner, those of a group at once; one result a step, in their order."""
    begun = await begin(supervisor, settings, body)
    await supervisor.wait(begun.run.id)
    return await _response(supervisor, settings, begun, steps_alone=True)


@router.post("/stream", responses=responses(404, 409), response_class=EventSourceResponse)
async def stream_run(
    body: StreamRequest, supervisor: Supervised, settings: Configured
) -> EventSourceResponse:
    """Carry out a task and stream its text as it is written; the last message is `event: done`."""
    begun = await begin(supervisor, settings, body)
    return stream(_messages(supervisor, settings, begun, body.frames == "json"), settings.reader_timeout)


async def _messages(
    supervisor: Supervisor, settings: Settings, begun: Begun, exact: bool
) -> AsyncIterator[ServerSentEvent]:
    """The run's text; then one message that says how it ended, with all that /run would answer."""
    transcript = Transcript()
    async for event in supervisor.follow(begun.run.thread_id, begun.after, begun.run.id):
        for text in transcript.take(event):
            yield message(_exact(event, text) if exact else text, id=event.seq)
    ended = await _response(supervisor, settings, begun)
    yield message(ended.model_dump_json(), "done")


def _exact(event: Event, text: str) -> str:
    told = {"text": text, "node": event.node, "step_id": event.step_id, "seq": event.seq}
    return json.dumps(told, ensure_ascii=False)


async def _response(
    supervisor: Supervisor, settings: Settings, begun: Begun, steps_alone: bool = False
) -> RunResponse:
    """What became of a run that has ended or waits, from its log."""
    run, repo = begun.run, begun.run.input["repo"]
    events = await supervisor.journal.events.read(run.thread_id, begun.after)
    told = Told.of(events, run.id)
    response = RunResponse(
        results=await asyncio.to_thread(told.results, repo, steps_alone),
        thread_id=run.thread_id,
        run_id=run.id,
        status=told.end.status if told.end else run.status,
        branch=told.end.branch if told.end else None,
        proof=told.end.proof if told.end else None,
    )
    if repo == str(scratch_folder(settings, run.thread_id)):
        delivery = await Delivery.of_run(await supervisor.run(run.id))
        response.files = dict(await delivery.files()) if delivery else {}
        response.diff = await delivery.diff() if delivery else ""
    return response
