"""The original's WebSocket: tasks in, one after another; text out, and `__DONE__` after each task."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from graph.settings import Settings
from graph.supervisor import Supervisor
from server.api.dependencies import Configured, Supervised
from server.api.guard import SUBPROTOCOL
from server.api.problems import Problem, problem_of
from server.api.schemas import TaskRequest, begin
from server.api.transcript import Transcript

router = APIRouter()

DONE = "__DONE__"
ERROR = '{"error":'
"""How a frame begins that tells an error: a JSON object whose `error` holds problem details."""

WAITING_TASKS = 16
"""How many tasks a client may send ahead."""


@router.websocket("/api/ws")
async def serve(websocket: WebSocket, supervisor: Supervised, settings: Configured) -> None:
    """Carry out each task that is sent; runs go on when the client goes away."""
    offered = websocket.scope.get("subprotocols") or []
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    tasks: asyncio.Queue[str | None] = asyncio.Queue(WAITING_TASKS)
    reading = asyncio.create_task(_read(websocket, tasks))
    working = asyncio.create_task(_work(websocket, tasks, supervisor, settings))
    try:
        await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (reading, working):
            one.cancel()
        await asyncio.gather(reading, working, return_exceptions=True)
    with suppress(RuntimeError, WebSocketDisconnect):
        await websocket.close()


async def _read(websocket: WebSocket, tasks: "asyncio.Queue[str | None]") -> None:
    """Take frames until the client goes; binary ones stand for what cannot be read."""
    while (message := await websocket.receive())["type"] == "websocket.receive":
        await tasks.put(message.get("text"))


async def _work(
    websocket: WebSocket, tasks: "asyncio.Queue[str | None]", supervisor: Supervisor, settings: Settings
) -> None:
    async def send(text: str) -> None:
        async with asyncio.timeout(settings.reader_timeout):
            await websocket.send_text(text)

    while True:
        given = await tasks.get()
        try:
            begun = await begin(supervisor, settings, _task(given))
            transcript = Transcript()
            async for event in supervisor.follow(begun.run.thread_id, begun.after, begun.run.id):
                for text in transcript.take(event):
                    for frame in frames(text):
                        await send(frame)
        except (TimeoutError, WebSocketDisconnect):
            raise
        except Exception as error:
            details = problem_of(error).details().model_dump()
            await send(json.dumps({"error": details}, separators=(",", ":"), ensure_ascii=False))
        await send(DONE)


def frames(text: str) -> Iterator[str]:
    """A piece of text as frames that nobody takes for `__DONE__` or an error, whatever a model wrote."""
    if text == DONE or text.startswith(ERROR):
        yield text[:1]
        text = text[1:]
    if text:
        yield text


def _task(given: str | None) -> TaskRequest:
    try:
        return TaskRequest.model_validate_json(given or "")
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, e['loc'])) or 'the frame'}: {e['msg']}"
            for e in error.errors(include_url=False)
        ]
        detail = f'{"; ".join(faults)}; send {{"task": "…", "context_files": […]}} as JSON text'
        raise Problem(422, "Invalid request", detail) from error
