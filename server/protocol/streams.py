"""Streams of runs: a view of the log from where the reader left off, then the live tail."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from graph.settings import Settings
from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from server.api.dependencies import Configured, Supervised
from server.api.problems import Problem, responses
from server.api.sse import stream
from server.protocol.begin import KEPT, begin, checked_modes
from server.protocol.projection import Projection
from server.protocol.runs import find, headers
from server.protocol.states import Shown, States
from server.protocol.wire import RunBody

router = APIRouter(tags=["streams"], responses=responses(404, 409, 501))

EVENT_ID = re.compile(r"(\d{1,15})-(\d{1,6})")
JOINED = ("values", "updates", "messages-tuple", "custom")
"""What a reader gets who joins a run of which no stream mode is known."""

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]
StreamMode = Annotated[list[str] | None, Query()]


@dataclass(frozen=True)
class Cursor:
    """What a reader saw last: part `number` of the log's line `seq`."""

    seq: int = 0
    number: int = -1

    @classmethod
    def read(cls, header: str | None) -> "Cursor":
        """Read Last-Event-ID; nothing, 0 and -1 mean the run's beginning."""
        if header is None or header.strip() in ("", "0", "-1"):
            return cls()
        if not (found := EVENT_ID.fullmatch(header.strip())):
            detail = "Last-Event-ID must be the id of an event of this run, like 12-0, or -1 for all of them"
            raise Problem(422, "Invalid Last-Event-ID", detail)
        return cls(int(found[1]), int(found[2]))


@router.post("/threads/{thread_id}/runs/stream", response_class=EventSourceResponse)
async def stream_run(
    thread_id: str, body: RunBody, supervisor: Supervised, settings: Configured, states: Shown
) -> EventSourceResponse:
    """Begin or resume a run and stream it."""
    begun = await begin(supervisor, settings, body, thread_id)
    modes = checked_modes(body.stream_mode) or ["values"]
    cursor = Cursor(begun.after, 1_000_000)
    return _respond(supervisor, settings, states, begun.run, modes, cursor, body.on_disconnect == "cancel")


@router.post("/runs/stream", response_class=EventSourceResponse)
async def stream_alone(
    body: RunBody, supervisor: Supervised, settings: Configured, states: Shown
) -> EventSourceResponse:
    """Begin a run on a thread of its own and stream it."""
    begun = await begin(supervisor, settings, body, None)
    modes = checked_modes(body.stream_mode) or ["values"]
    return _respond(supervisor, settings, states, begun.run, modes, Cursor(), body.on_disconnect == "cancel")


@router.get("/threads/{thread_id}/runs/{run_id}/stream", response_class=EventSourceResponse)
async def join_stream(
    thread_id: str,
    run_id: str,
    supervisor: Supervised,
    settings: Configured,
    states: Shown,
    stream_mode: StreamMode = None,
    last_event_id: LastEventId = None,
    cancel_on_disconnect: bool = False,
) -> EventSourceResponse:
    """Stream a run from after `Last-Event-ID`, or from its beginning."""
    run = await find(supervisor, thread_id, run_id)
    return _join(supervisor, settings, states, run, stream_mode, last_event_id, cancel_on_disconnect)


@router.get("/runs/{run_id}/stream", response_class=EventSourceResponse)
async def join_stream_alone(
    run_id: str,
    supervisor: Supervised,
    settings: Configured,
    states: Shown,
    stream_mode: StreamMode = None,
    last_event_id: LastEventId = None,
    cancel_on_disconnect: bool = False,
) -> EventSourceResponse:
    """Stream a run whose thread the reader does not know."""
    run = await supervisor.journal.runs.get(run_id)
    if run is None:
        raise Problem(404, "No such run", f"there is no run {run_id}")
    return _join(supervisor, settings, states, run, stream_mode, last_event_id, cancel_on_disconnect)


def _join(
    supervisor: Supervisor,
    settings: Settings,
    states: States,
    run: RunRow,
    stream_mode: list[str] | None,
    last_event_id: str | None,
    cancels: bool,
) -> EventSourceResponse:
    kept = run.metadata.get(KEPT, {}).get("stream_mode")
    modes = checked_modes(stream_mode or []) or kept or list(JOINED)
    return _respond(supervisor, settings, states, run, modes, Cursor.read(last_event_id), cancels)


def _respond(
    supervisor: Supervisor,
    settings: Settings,
    states: States,
    run: RunRow,
    modes: Sequence[str],
    cursor: Cursor,
    cancels: bool,
) -> EventSourceResponse:
    query = "?" + urlencode([("stream_mode", mode) for mode in modes])
    messages = _messages(supervisor, states, run, modes, cursor)
    response = stream(messages, settings.reader_timeout, headers(run, "stream", query))
    if cancels:

        async def gone(_: object) -> None:
            await supervisor.cancel(run.thread_id, run.id, wait=False)

        response.client_close_handler_callable = gone
    return response


async def _messages(
    supervisor: Supervisor, states: States, run: RunRow, modes: Sequence[str], cursor: Cursor
) -> AsyncIterator[ServerSentEvent]:
    projection = Projection(run.thread_id, run.id, modes, states)
    log = supervisor.follow(run.thread_id, 0, run.id)
    async with aclosing(log) as events:
        async for event in events:
            for part in await projection.take(event, seen=event.seq < cursor.seq):
                if (part.seq, part.number) > (cursor.seq, cursor.number):
                    yield ServerSentEvent(_json(part.data), event=part.event, id=part.id)


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
