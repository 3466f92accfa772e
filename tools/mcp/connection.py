"""The connection to one MCP server, opened on first use and again once it has ended."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, NoReturn, TypeVar

import mcp_types
from mcp import Client
from mcp.shared.exceptions import MCPError

from memory.secrets import masked
from tools.mcp.content import content_text
from tools.mcp.errors import McpServerError
from tools.mcp.listing import MOST_TOOLS, ListedTool, ServerListing, listed, plain_line
from tools.mcp.servers import McpServer
from tools.mcp.transport import Traces, open_transport

T = TypeVar("T")

TIMEOUT = "TOOL_EXECUTOR_TIMEOUT"
_MOST_PAGES = 20
_ERROR = 500  # characters of an error
_END_SECONDS = 10.0


class McpConnection:
    """Keeps one session with a server. All its errors are McpServerError, without secrets.

    One task enters and leaves the session, as its library demands. Calls come from any task.
    """

    def __init__(self, server: McpServer, environment: Mapping[str, str]) -> None:
        self.server = server
        self._environment = environment
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._traces = Traces()
        self._client: Client | None = None
        self._listing = ServerListing(server.name)
        self._calls = 0
        # Its warnings would come up in the middle of the terminal.
        logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)

    async def listing(self, seconds: float) -> ServerListing:
        """Return the server's tools. Connects if need be."""
        await self._open(seconds)
        return self._listing

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float) -> tuple[str, bool]:
        """Call a tool. Return its text, and whether it is that of an error."""
        client = await self._open(seconds)
        params = mcp_types.CallToolRequestParams(name=tool, arguments=arguments)
        # The client's own method checks the result with the server's schema, which may take for ever.
        request = client.session.send_request(
            mcp_types.CallToolRequest(params=params), mcp_types.CallToolResult
        )
        self._calls += 1
        self._traces.messages = 0
        try:
            result = await self._answer(request, seconds, f"{tool} gave no answer")
        finally:
            self._calls -= 1
        # Models read the text, and no model is to know a secret.
        return masked(content_text(result), self.server.secrets), bool(result.is_error)

    async def aclose(self) -> None:
        """End the session, and a program that was started for it."""
        async with self._lock:
            await self._close()

    async def _open(self, seconds: float) -> Client:
        if self.server.problem:
            raise self._error(self.server.problem)
        async with self._lock:
            client = self._client
            if client is None or self._stop.is_set() or self._traces.ended.is_set():
                await self._close()
                client = await self._start(seconds)
            return client

    async def _start(self, seconds: float) -> Client:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._stop, self._traces = asyncio.Event(), Traces()
        self._task = asyncio.create_task(self._hold(ready))
        try:
            opening: set[asyncio.Future[Any]] = {ready, self._task}
            await asyncio.wait(opening, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done() and not self._task.done():
                raise self._error(f"no list of tools came in {seconds:g} s, which is {TIMEOUT}")
            return ready.result() if ready.done() else self._raise_end(self._task)
        finally:
            if not ready.done():
                await self._close()

    async def _hold(self, ready: "asyncio.Future[Client]") -> None:
        """Hold the session open until it is stopped or has ended."""
        transport = open_transport(self.server, self._environment, self._traces)
        async with Client(transport, cache=None) as client:
            self._listing = await self._list(client)
            self._client = client
            ready.set_result(client)
            waits = [asyncio.create_task(self._stop.wait()), asyncio.create_task(self._traces.ended.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._client = None
                for wait in waits:
                    wait.cancel()

    async def _list(self, client: Client) -> ServerListing:
        """Return the tools that can and may be used, in the order of their names."""
        tools: dict[str, ListedTool] = {}
        seen, cursor = 0, None
        for _ in range(_MOST_PAGES):
            page = await client.session.list_tools(params=mcp_types.PaginatedRequestParams(cursor=cursor))
            for each in page.tools:
                seen += 1
                is_allowed = self.server.tools is None or each.name in self.server.tools
                tool = listed(self.server.name, each.name, each.description, each.input_schema)
                if tool and is_allowed and len(tools) < MOST_TOOLS:
                    tools[tool.name] = tool
            cursor = page.next_cursor
            if not cursor or seen > 10 * MOST_TOOLS:
                break
        kept = tuple(tools[name] for name in sorted(tools))
        return ServerListing(self.server.name, kept, seen - len(kept), reads=self.server.reads)

    async def _answer(self, request: Awaitable[T], seconds: float, late: str) -> T:
        """Wait for an answer, for the end of the connection, or until it is too late."""
        task, connection = asyncio.ensure_future(request), self._task
        if connection is None:
            raise self._error("the connection has ended")
        try:
            waiting: set[asyncio.Future[Any]] = {task, connection}
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if connection.done():
                self._raise_end(connection)
            if self._calls == 1:
                self._stop.set()  # it may hang for good, so the next call gets a new session
            raise self._error(f"{late} in {seconds:g} s, which is {TIMEOUT}")
        except MCPError as error:
            if error.error.code == mcp_types.CONNECTION_CLOSED:
                await asyncio.wait({connection}, timeout=1)  # for the exit code
                self._stop.set()
                raise self._error("the connection ended without an answer") from error
            raise self._error(error.error.message) from error
        except (ValueError, RuntimeError) as error:  # a result that the protocol does not know
            raise self._error(f"its answer cannot be used: {error}") from error
        finally:
            task.cancel()

    def _raise_end(self, connection: "asyncio.Task[None]") -> NoReturn:
        """Raise the reason for which a connection has ended."""
        problem = None if connection.cancelled() else connection.exception()
        raise self._error(_first_cause(problem) if problem else "the connection has ended")

    def _error(self, reason: str) -> McpServerError:
        text = plain_line(f"{reason}{self._traces.told()}", _ERROR)
        return McpServerError(f"MCP server {self.server.name}: {masked(text, self.server.secrets)}")

    async def _close(self) -> None:
        task, client, self._task, self._client = self._task, self._client, None, None
        if task is None:
            return
        self._stop.set()
        # A session that is open leaves by itself. One that opens may never do.
        await asyncio.wait({task}, timeout=_END_SECONDS if client else 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _first_cause(error: BaseException) -> str:
    """Return the innermost error of a group, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
