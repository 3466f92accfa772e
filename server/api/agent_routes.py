"""Routes of the original API: run a task, or given steps, and answer with the results or a stream."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter
from sse_starlette import EventSourceResponse, ServerSentEvent

from graph.delivery import Delivery
from graph.run_request import scratch_folder
from graph.supervisor import Supervisor
from nodes.planning.plan_reply import read_plan
from server.api.dependencies import SupervisorDep
from server.api.problems import responses
from server.api.run_results import RunResults
from server.api.schemas import RunResponse, StepsRequest, StreamRequest, TaskRequest
from server.api.sse import sse_message, sse_response
from server.api.task_submission import SubmittedRun, submit_task
from server.api.transcript import Transcript

router = APIRouter(prefix="/api/agent", tags=["The original's API"])


@router.post("/run", responses=responses(404, 409))
async def run(body: TaskRequest, supervisor: SupervisorDep) -> RunResponse:
    """Run a task and answer with its results. The run continues if the client disconnects."""
    submitted = await submit_task(supervisor, body)
    await supervisor.wait(submitted.run.id)
    return await _response(supervisor, submitted)


@router.post("/run_parallel", responses=responses(404, 409))
async def run_parallel(body: StepsRequest, supervisor: SupervisorDep) -> RunResponse:
    """Run steps without a planner, those of a group in parallel. Answer with one result a step, in order."""
    submitted = await submit_task(supervisor, body)
    await supervisor.wait(submitted.run.id)
    return await _response(supervisor, submitted, steps_only=True)


@router.post("/stream", responses=responses(404, 409), response_class=EventSourceResponse)
async def stream_run(body: StreamRequest, supervisor: SupervisorDep) -> EventSourceResponse:
    """Run a task and stream its text. The last message is `event: done` with the answer of /run."""
    submitted = await submit_task(supervisor, body)
    messages = _messages(supervisor, submitted, as_json=body.frames == "json")
    return sse_response(messages, supervisor.settings.reader_timeout)


async def _messages(
    supervisor: Supervisor, submitted: SubmittedRun, as_json: bool
) -> AsyncIterator[ServerSentEvent]:
    transcript, run = Transcript(), submitted.run
    async for event in supervisor.log.follow(run.thread_id, submitted.after, run.id):
        for text in transcript.add(event):
            frame = {"text": text, "node": event.node, "step_id": event.step_id, "seq": event.seq}
            yield sse_message(json.dumps(frame, ensure_ascii=False) if as_json else text, id=event.seq)
    response = await _response(supervisor, submitted)
    yield sse_message(response.model_dump_json(), "done")


async def _response(supervisor: Supervisor, submitted: SubmittedRun, steps_only: bool = False) -> RunResponse:
    """Summarise a run that has ended or waits, from its events."""
    run, repo = submitted.run, submitted.run.input["repo"]
    events = await supervisor.journal.events.read(run.thread_id, submitted.after)
    results = RunResults.from_events(events, run.id)
    # A run that waits for its environment has no plan yet, and clients expect a result for each step.
    if steps_only and not results.steps:
        results.plan(read_plan({"steps": run.input["steps"]}))
    end = results.end
    response = RunResponse(
        results=await asyncio.to_thread(results.outputs, repo, steps_only),
        thread_id=run.thread_id,
        run_id=run.id,
        status=end.status if end else run.status,
        branch=end.branch if end else None,
        proof=end.proof if end else None,
    )
    # Clients cannot read a scratch repository on the server's disk, so they get its files.
    if repo == str(scratch_folder(supervisor.settings, run.thread_id)):
        delivery = await Delivery.of_run(await supervisor.run(run.id))
        response.files = dict(await delivery.files()) if delivery else {}
        response.diff = await delivery.diff() if delivery else ""
    return response
