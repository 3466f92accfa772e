"""Server-Sent Events: framing, heartbeats, readers that are dropped when they take nothing, reconnection."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing
from typing import cast

from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from nodes.events import Event
from server.api.problems import Problem, problem_of

PING_SECONDS = 15
LAST_SEQ = 2**53 - 1
"""No log grows longer; a browser counts no further, and a database takes no number of any size."""


def stream(
    messages: AsyncIterable[ServerSentEvent], timeout: float, headers: Mapping[str, str] | None = None
) -> EventSourceResponse:
    """Answer with messages as they come; a reader that takes nothing for `timeout` seconds is dropped.

    What fails once the answer has begun is told as a last message, `event: error`, with problem details.
    """
    return EventSourceResponse(
        _told(messages), ping=PING_SECONDS, sep="\n", send_timeout=timeout, headers=headers
    )


def message(data: str, event: str | None = None, id: int | None = None) -> ServerSentEvent:
    """One message, its lines ended by LF alone, which every reader understands."""
    return ServerSentEvent(data, event=event, id=None if id is None else str(id), sep="\n")


async def log_messages(events: AsyncIterator[Event]) -> AsyncIterator[ServerSentEvent]:
    """Each event of the log as a message: `id` is its seq, `event` its type, `data` the event as JSON."""
    async with aclosing(cast(AsyncGenerator[Event], events)) as open_events:
        async for event in open_events:
            yield message(event.wire, event.type, event.seq)


def last_seen(request: Request, after: int | None = None) -> int:
    """The seq that a reader saw last: the header that browsers send on reconnection, else `after`, else 0."""
    header = request.headers.get("last-event-id")
    if header is None or not header.strip():
        return max(after or 0, 0)
    try:
        return min(max(int(header), 0), LAST_SEQ)
    except ValueError:
        detail = "Last-Event-ID must be the id of an event of this thread, which is a whole number"
        raise Problem(422, "Invalid Last-Event-ID", detail) from None


async def _told(messages: AsyncIterable[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    try:
        async with aclosing(cast(AsyncGenerator[ServerSentEvent], messages)) as open_messages:
            async for one in open_messages:
                yield one
    except Exception as error:
        yield message(problem_of(error).details().model_dump_json(), "error")
        if problem_of(error).status_code == 500:
            raise
