"""Server-Sent Events: framing, pings, dropped readers, reconnection.

The web page reads the events of `thread_routes.py`, which come from `graph/event_log.py`.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing
from typing import cast

from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from nodes.events import Event
from server.api.problems import Problem, problem_of

PING_SECONDS = 15
LAST_SEQ = 2**53 - 1
"""The largest number that JavaScript counts exactly. SQLite rejects integers above 2**63 - 1."""


def sse_response(
    messages: AsyncIterable[ServerSentEvent], timeout: float, headers: Mapping[str, str] | None = None
) -> EventSourceResponse:
    """Stream messages. A reader that accepts no data for `timeout` seconds is dropped.

    An error after the first byte becomes a last message, `event: error`, with problem details.
    """
    return EventSourceResponse(
        _with_error(messages), ping=PING_SECONDS, sep="\n", send_timeout=timeout, headers=headers
    )


def sse_message(data: str, event: str | None = None, id: int | None = None) -> ServerSentEvent:
    """Build a message whose lines end with LF, which every reader understands."""
    return ServerSentEvent(data, event=event, id=None if id is None else str(id), sep="\n")


async def event_messages(events: AsyncGenerator[Event]) -> AsyncIterator[ServerSentEvent]:
    """Yield each event of a log as a message: `id` is its seq, `event` its type, `data` its JSON."""
    # Without aclosing, the log's reader stays registered until the garbage collector finds the generator.
    async with aclosing(events):
        async for event in events:
            yield sse_message(event.wire, event.type, event.seq)


def last_seen(request: Request, after: int) -> int:
    """Return the seq that a reader saw last: the Last-Event-ID header, else `after`."""
    header = request.headers.get("last-event-id", "").strip()
    if not header:
        return after
    try:
        return min(max(int(header), 0), LAST_SEQ)
    except ValueError:
        detail = "Last-Event-ID must be the id of an event of this thread, which is a whole number"
        raise Problem(422, "Invalid Last-Event-ID", detail) from None


async def _with_error(messages: AsyncIterable[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    try:
        async with aclosing(cast(AsyncGenerator[ServerSentEvent], messages)) as open_messages:
            async for message in open_messages:
                yield message
    except Exception as error:
        problem = problem_of(error)
        yield sse_message(problem.details().model_dump_json(), "error")
        if problem.status_code == 500:
            raise  # the guard logs it
