"""The original WebSocket: clients send tasks, and get each task's text followed by `__DONE__`."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from graph.supervisor import Supervisor
from memory.validation import check_length, faults_of
from server.api.dependencies import SupervisorDep
from server.api.guard import SUBPROTOCOL
from server.api.problems import Problem, problem_of
from server.api.schemas import TaskRequest
from server.api.task_submission import submit_task
from server.api.transcript import Transcript

router = APIRouter()

DONE = "__DONE__"
ERROR = '{"error":'
"""Start of an error frame: a JSON object whose `error` holds problem details."""

WAITING_TASKS = 1
"""Number of tasks that are read ahead. Each may take 20 MB, and the network keeps the others."""


@router.websocket("/api/ws")
async def serve_tasks(websocket: WebSocket, supervisor: SupervisorDep) -> None:
    """Run the tasks that a client sends, one after another. Runs continue if the client disconnects."""
    offered = websocket.scope.get("subprotocols") or []
    # A browser closes the connection if the server selects none of the protocols that it offered.
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    # A full queue stops reading, and TCP stops the client.
    frames: asyncio.Queue[str | None] = asyncio.Queue(WAITING_TASKS)
    reading = asyncio.create_task(_read(websocket, frames))
    working = asyncio.create_task(_work(websocket, frames, supervisor))
    try:
        await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
    finally:
        reading.cancel()
        working.cancel()
        await asyncio.gather(reading, working, return_exceptions=True)
    with suppress(RuntimeError, WebSocketDisconnect):  # the client may have closed it
        await websocket.close()


async def _read(websocket: WebSocket, frames: "asyncio.Queue[str | None]") -> None:
    """Queue the client's frames until it leaves. A binary frame becomes None."""
    while (message := await websocket.receive())["type"] == "websocket.receive":
        await frames.put(message.get("text"))


async def _work(websocket: WebSocket, frames: "asyncio.Queue[str | None]", supervisor: Supervisor) -> None:
    async def send(text: str) -> None:
        async with asyncio.timeout(supervisor.settings.reader_timeout):
            await websocket.send_text(text)

    while True:
        frame = await frames.get()
        try:
            submitted = await submit_task(supervisor, await asyncio.to_thread(_task, frame or ""))
            run, transcript = submitted.run, Transcript()
            async for event in supervisor.log.follow(run.thread_id, submitted.after, run.id):
                for text in transcript.add(event):
                    for part in text_frames(text):
                        await send(part)
        except (TimeoutError, WebSocketDisconnect):
            raise  # nobody reads an error frame
        except Exception as error:
            details = problem_of(error).details().model_dump()
            await send(json.dumps({"error": details}, separators=(",", ":"), ensure_ascii=False))
        await send(DONE)


def _task(frame: str) -> TaskRequest:
    """Return the task in a frame. Raises Problem."""
    try:
        check_length(frame)
        return TaskRequest.model_validate_json(frame)
    except ValueError as error:
        faults = "; ".join(faults_of(error)) if isinstance(error, ValidationError) else str(error)
        detail = f'{faults}; send {{"task": "…", "context_files": […]}} as JSON text'
        raise Problem(422, "Invalid request", detail) from error


def text_frames(text: str) -> Iterator[str]:
    """Split a text so that no frame looks like `__DONE__` or an error, whatever a model wrote."""
    if text == DONE or text.startswith(ERROR):
        yield text[:1]
        text = text[1:]
    if text:
        yield text
