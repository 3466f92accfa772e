"""Streams to MCP servers: programs that we start, and addresses. What servers send has limits."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client import Transport
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from tools.mcp.errors import McpServerError
from tools.mcp.listing import plain_line
from tools.mcp.servers import McpServer

MOST_BYTES = 4_000_000
"""The most bytes of a message."""

_MOST_NONSENSE = 100  # lines that are no messages; some servers greet
_MOST_MESSAGES = 3_000  # between two calls
_STDERR = 2_000
_END_SECONDS, _POLL_SECONDS = 1.0, 0.01
_READ_SECONDS = 300.0  # a server may hold a stream open

Inbox = MemoryObjectSendStream[SessionMessage | Exception]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


@dataclass
class Traces:
    """Traces of a connection, for the error when it fails: how a program ended, and its last output."""

    stderr: str = ""
    nonsense: str = ""
    messages: int = 0
    problem: str = ""
    exit_code: int | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> str:
        """Return them in words, beginning with a blank, empty if there is nothing to tell."""
        parts = [self.problem] if self.problem else []
        if self.exit_code is not None:
            parts.append(f"it ended with exit code {self.exit_code}")
        if self.nonsense:
            parts.append(f"it wrote what is no message: {self.nonsense}")
        if self.exit_code is not None and self.stderr.strip():
            parts.append(f"its last words: {plain_line(self.stderr.strip()[-300:], 300)}")
        return f" ({'; '.join(parts)})" if parts else ""


@dataclass(frozen=True)
class _Pipes:
    """The pipes of a program."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    @classmethod
    def of(cls, process: asyncio.subprocess.Process) -> "_Pipes":
        """Return the pipes of a program that was started with all three."""
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise McpServerError("the program has no pipes")
        return cls(process.stdin, process.stdout, process.stderr)


def open_transport(server: McpServer, environment: Mapping[str, str], traces: Traces) -> Transport:
    """Return the transport of a server, which connects once it is entered."""
    if server.transport == "stdio":
        return _program(server, environment, traces)
    return _address(server)


@asynccontextmanager
async def _program(
    server: McpServer, environment: Mapping[str, str], traces: Traces
) -> AsyncIterator[Streams]:
    """Start a program in a session of its own, without a terminal, and end it with all it has started."""
    try:
        process = await asyncio.create_subprocess_exec(
            *server.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environment, **server.env},
            cwd=server.folder,
            start_new_session=True,
            limit=MOST_BYTES,
        )
    except (OSError, ValueError) as error:
        raise McpServerError(f"`{server.command[0]}` cannot be started: {error}") from error
    pipes = _Pipes.of(process)
    inbox, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_receive(process, pipes.stdout, inbox, traces)),
        asyncio.create_task(_send(pipes.stdin, outbox)),
        asyncio.create_task(_listen(pipes.stderr, traces)),
    ]
    try:
        yield read, write
    finally:
        read.close()
        write.close()
        ending = asyncio.create_task(_end(process, pipes, tasks))
        while not ending.done():  # a cancellation must not leave a program behind
            with suppress(asyncio.CancelledError):
                await asyncio.shield(ending)


async def _receive(
    process: asyncio.subprocess.Process, stdout: asyncio.StreamReader, inbox: Inbox, traces: Traces
) -> None:
    """Pass on the messages of a program, until it ends or floods."""
    nonsense = 0
    with inbox, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            try:
                line = await stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                if await _ends(process):
                    traces.exit_code = process.returncode
                break
            except asyncio.LimitOverrunError:
                traces.problem = f"it sent more than {MOST_BYTES:,} bytes in one message"
                break
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                traces.nonsense = plain_line(line[:400].decode(errors="replace"), 100)
                nonsense += 1
                if nonsense > _MOST_NONSENSE:
                    traces.problem = "it writes something else than messages to its output"
                    break
                continue
            traces.messages += 1
            if traces.messages > _MOST_MESSAGES:
                traces.problem = "it sends messages without an end"
                break
            await inbox.send(SessionMessage(message))
    traces.ended.set()


async def _send(stdin: asyncio.StreamWriter, outbox: MemoryObjectReceiveStream[SessionMessage]) -> None:
    with outbox, suppress(OSError):
        async for each in outbox:
            text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            stdin.write(text.encode() + b"\n")
            await stdin.drain()


async def _listen(stderr: asyncio.StreamReader, traces: Traces) -> None:
    """Keep the end of what a program writes to its error output."""
    while chunk := await stderr.read(65_536):
        traces.stderr = (traces.stderr + chunk.decode(errors="replace"))[-_STDERR:]


async def _end(process: asyncio.subprocess.Process, pipes: _Pipes, tasks: list["asyncio.Task[None]"]) -> None:
    """End a program as the protocol asks for it: its input closes, then it is killed with its children."""
    for task in tasks[:2]:
        task.cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    pipes.stdin.close()
    drains = asyncio.create_task(_drain(pipes.stdout))
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if await _ends(process):
            break
        _signal(process, sign)
    _signal(process, signal.SIGKILL)  # what it has left behind
    await _ends(process)
    for task in (*tasks[2:], drains):
        task.cancel()
    await asyncio.gather(*tasks[2:], drains, return_exceptions=True)


async def _ends(process: asyncio.subprocess.Process) -> bool:
    """Wait a moment for the end of a program. Return whether it has ended."""
    # `process.wait()` may also wait for children that hold the pipes.
    for _ in range(int(_END_SECONDS / _POLL_SECONDS)):
        if process.returncode is not None:
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return process.returncode is not None


async def _drain(stdout: asyncio.StreamReader) -> None:
    """Read on, as a program that waits for its output to be read does not end."""
    while await stdout.read(65_536):
        pass


def _signal(process: asyncio.subprocess.Process, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sign)


@asynccontextmanager
async def _address(server: McpServer) -> AsyncIterator[Any]:
    """Connect to an address. Proxies and certificates are those of the environment."""
    if server.transport == "sse":
        async with sse_client(server.url, dict(server.headers), httpx_client_factory=_client) as streams:
            yield streams
    else:
        async with (
            _client(dict(server.headers)) as client,
            streamable_http_client(server.url, http_client=client, max_sse_event_size=MOST_BYTES) as streams,
        ):
            yield streams


def _client(
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
) -> httpx2.AsyncClient:
    timeout = timeout or httpx2.Timeout(30.0, read=_READ_SECONDS)
    # What is compressed has no limit.
    plain = {**(headers or {}), "Accept-Encoding": "identity"}
    return httpx2.AsyncClient(headers=plain, timeout=timeout, auth=auth, event_hooks={"response": [_limit]})


async def _limit(response: httpx2.Response) -> None:
    """Limit the bytes of a response that is no stream of events, whose events have limits of their own."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.DecodingError("the response is compressed, although that was not asked for")
    is_events = response.headers.get("content-type", "").startswith("text/event-stream")
    if not is_events and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _LimitedStream(response.stream)


class _LimitedStream(httpx2.AsyncByteStream):
    """The body of a response, which fails once it is too long."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MOST_BYTES:
                raise httpx2.ReadError(f"the response has more than {MOST_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
