"""The tools of all servers that the user has listed: looked up, checked and called."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tools.catalogue import InvalidCall, OutsidePlace, OutsideResult, PlanTool, ToolOutput, read_call
from tools.catalogue.mcp_call import McpCall, is_mcp, split_name
from tools.mcp.errors import McpServerError
from tools.mcp.listing import ListedTool, ServerListing
from tools.mcp.servers import FILE, McpServer

if TYPE_CHECKING:
    from tools.mcp.connection import McpConnection

_FAILED = 1
_PAUSE = 60.0  # seconds before a server that has failed is asked for its tools again


@dataclass
class McpTools:
    """Calls tools of servers, each with a connection that opens on first use.

    `environment` is that of the programs that are started. `seconds` limit a start and a call.
    """

    servers: Mapping[str, McpServer] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 30.0
    _connections: "dict[str, McpConnection]" = field(default_factory=dict, init=False)
    _failed: dict[str, tuple[float, ServerListing]] = field(default_factory=dict, init=False)
    _listed: dict[str, dict[str, ListedTool]] = field(default_factory=dict, init=False)

    async def listings(self, only_reading: bool = False) -> list[ServerListing]:
        """Return the tools of each server, or its problem. All of them are asked at once.

        A server that has just failed is not asked again, so that agents do not wait for it each time.
        """
        names = [name for name, server in self.servers.items() if server.reads or not only_reading]
        return list(await asyncio.gather(*map(self._known_listing, names)))

    async def prepare(self, name: Any) -> None:
        """Ask the server of a tool for its schema. Raises InvalidCall if it does not answer."""
        server = split_name(name)[0] if is_mcp(name) else ""
        if server in self.servers and (problem := (await self._listing(server)).problem):
            raise InvalidCall(problem)

    def read_call(self, name: Any, params: Any) -> PlanTool:
        """Return a call of any tool, with the effect that the user has declared. Raises InvalidCall.

        The parameters of a server's tool are checked once the server is prepared.
        """
        call = read_call(name, params)
        if not isinstance(call, McpCall):
            return call
        check_server(call, self.servers)
        if (tools := self._listed.get(call.server)) is not None:
            tool = tools.get(call.name)
            if tool is None:
                offered = ", ".join(tools)[:1_000] or "none"
                raise InvalidCall(f"there is no tool {call.name}; the tools of this server are {offered}")
            # jsonschema loads for a while, and most runs need it not.
            from tools.mcp.schema import check_parameters

            check_parameters(tool, call.parameters())
        return call.with_effect("read" if self.servers[call.server].reads else "outside")

    async def __call__(self, call: PlanTool, place: OutsidePlace, /) -> OutsideResult:
        """Call a tool for a step. The run's files stay as they are."""
        try:
            output = await self.output(call, place.seconds)
        except (InvalidCall, McpServerError) as error:
            output = ToolOutput(stderr=f"{error}\n", returncode=_FAILED)
        return OutsideResult(output, place.head)

    async def output(self, call: PlanTool, seconds: float) -> ToolOutput:
        """Return what a tool answers. Raises InvalidCall, McpServerError."""
        await self.prepare(call.name)
        params = self.read_call(call.name, call.parameters()).parameters()
        server, tool = split_name(call.name)
        text, is_error = await (await self._connection(server)).call(tool, params, seconds)
        return ToolOutput(stderr=text, returncode=_FAILED) if is_error else ToolOutput(stdout=text)

    async def aclose(self) -> None:
        """End all connections and the programs that were started."""
        await asyncio.gather(*(connection.aclose() for connection in self._connections.values()))

    async def _known_listing(self, server: str) -> ServerListing:
        failed_at, listing = self._failed.get(server, (-_PAUSE, None))
        if listing and time.monotonic() - failed_at < _PAUSE:
            return listing
        return await self._listing(server)

    async def _listing(self, server: str) -> ServerListing:
        try:
            connection = await self._connection(server)
            listing = await connection.listing(self.seconds)
        except McpServerError as error:
            listing = ServerListing(server, problem=str(error))
            self._failed[server] = time.monotonic(), listing
            return listing
        self._failed.pop(server, None)
        self._listed[server] = {tool.name: tool for tool in listing.tools}
        return listing

    async def _connection(self, server: str) -> "McpConnection":
        if server not in self._connections:
            made = await asyncio.to_thread(_load_connection)
            self._connections.setdefault(server, made(self.servers[server], self.environment))
        return self._connections[server]


def check_server(call: McpCall, servers: Mapping[str, McpServer]) -> None:
    """Raise InvalidCall unless the user has listed the server of a call, and allows the tool."""
    server = servers.get(call.server)
    if server is None:
        listed = ", ".join(servers) or "none"
        raise InvalidCall(f"{FILE} in AUTOCODE_HOME lists no MCP server {call.server}; it lists {listed}")
    if server.tools is not None and call.tool not in server.tools:
        raise InvalidCall(
            f"the tool {call.tool} of {call.server} is not among the `tools` that {FILE} allows"
        )


def _load_connection() -> "type[McpConnection]":
    # The library loads for seconds, which only users of servers should wait for.
    from tools.mcp.connection import McpConnection

    return McpConnection
