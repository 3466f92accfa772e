"""Streams of runs: the log after the event that the reader saw last, then new events."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from server.api.dependencies import ClientDep, SupervisorDep, ThreadPath
from server.api.problems import Problem, responses
from server.api.sse import sse_response
from server.protocol.projection import Projection
from server.protocol.request_bodies import RunBody
from server.protocol.run_submission import METADATA_KEY, check_modes, submit_or_resume
from server.protocol.runs import find_run, location_headers
from server.protocol.state_json import read_state

router = APIRouter(tags=["streams"], responses=responses(404, 409, 501))

EVENT_ID = re.compile(r"(\d{1,15})-(\d{1,6})")
DEFAULT_MODES = ("values", "updates", "messages-tuple", "custom")
"""Modes for a reader that joins a run without stored modes."""


@dataclass(frozen=True)
class JoinOptions:
    """Parameters of a request that joins a run: the reader's stream modes, and the event it saw last."""

    stream_mode: Annotated[list[str] | None, Query()] = None
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None
    cancel_on_disconnect: bool = False


Join = Annotated[JoinOptions, Depends()]


Cursor = tuple[int, int]
"""The event that a reader saw last: a line of the log, and the number of an event of that line."""


def _parse_cursor(header: str | None) -> Cursor:
    """Parse Last-Event-ID. Nothing, 0 and -1 mean the start of the run."""
    if header is None or header.strip() in ("", "0", "-1"):
        return 0, -1
    if not (match := EVENT_ID.fullmatch(header.strip())):
        detail = "Last-Event-ID must be the id of an event of this run, like 12-0, or -1 for all of them"
        raise Problem(422, "Invalid Last-Event-ID", detail)
    return int(match[1]), int(match[2])


@router.post("/threads/{thread_id}/runs/stream", response_class=EventSourceResponse)
async def stream_run(
    thread_id: ThreadPath, body: RunBody, supervisor: SupervisorDep, client: ClientDep
) -> EventSourceResponse:
    """Start or resume a run and stream it."""
    return await _submit(supervisor, body, thread_id, client)


@router.post("/runs/stream", response_class=EventSourceResponse)
async def stream_stateless_run(body: RunBody, supervisor: SupervisorDep) -> EventSourceResponse:
    """Start a run on a new thread and stream it."""
    return await _submit(supervisor, body, None)


@router.get("/threads/{thread_id}/runs/{run_id}/stream", response_class=EventSourceResponse)
async def join_stream(
    thread_id: ThreadPath, run_id: str, supervisor: SupervisorDep, options: Join
) -> EventSourceResponse:
    """Stream a run after `Last-Event-ID`, or from its start."""
    return await _join(supervisor, thread_id, run_id, options)


@router.get("/runs/{run_id}/stream", response_class=EventSourceResponse)
async def join_stateless_stream(run_id: str, supervisor: SupervisorDep, options: Join) -> EventSourceResponse:
    """Stream a run of a thread that the reader does not know."""
    return await _join(supervisor, None, run_id, options)


async def _submit(
    supervisor: Supervisor, body: RunBody, thread_id: str | None, client: str = ""
) -> EventSourceResponse:
    submitted = await submit_or_resume(supervisor, body, thread_id, client)
    modes = check_modes(body.stream_mode) or ["values"]
    # A resumed run has earlier events. The number is larger than any of the line `after`.
    cursor = submitted.after, 1_000_000
    return _respond(supervisor, submitted.run, modes, cursor, body.on_disconnect == "cancel")


async def _join(
    supervisor: Supervisor, thread_id: str | None, run_id: str, options: JoinOptions
) -> EventSourceResponse:
    run = await find_run(supervisor, thread_id, run_id)
    stored = run.metadata.get(METADATA_KEY, {}).get("stream_mode")
    modes = check_modes(options.stream_mode or []) or stored or DEFAULT_MODES
    cursor = _parse_cursor(options.last_event_id)
    return _respond(supervisor, run, modes, cursor, options.cancel_on_disconnect)


def _respond(
    supervisor: Supervisor, run: RunRow, modes: Sequence[str], cursor: Cursor, cancels: bool
) -> EventSourceResponse:
    query = "?" + urlencode([("stream_mode", mode) for mode in modes])
    headers = location_headers(run, f"stream{query}")
    response = sse_response(
        _messages(supervisor, run, modes, cursor), supervisor.settings.reader_timeout, headers
    )
    if cancels:

        async def cancel(_: object) -> None:
            await supervisor.cancel(run.thread_id, run.id, wait=False)

        response.client_close_handler_callable = cancel
    return response


async def _messages(
    supervisor: Supervisor, run: RunRow, modes: Sequence[str], cursor: Cursor
) -> AsyncIterator[ServerSentEvent]:
    projection = Projection(run.thread_id, run.id, modes, partial(read_state, supervisor))
    # From the first line on: event ids, message ids and attempts count from the start of the run.
    async with aclosing(supervisor.log.follow(run.thread_id, 0, run.id)) as events:
        async for event in events:
            for part in await projection.add(event, seen=event.seq < cursor[0]):
                if (part.seq, part.number) > cursor:
                    data = json.dumps(part.data, ensure_ascii=False, separators=(",", ":"))
                    yield ServerSentEvent(data, event=part.name, id=part.id)
