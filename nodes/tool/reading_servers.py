"""The tools of MCP servers that agents can call: those that only read, as the user has declared."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nodes.agent.agents import OfferedTools
from nodes.agent.shown import CHARACTERS
from nodes.agent.tool_error import ToolError
from nodes.dialogue.excerpts import cut
from nodes.llm.tool_calls import ToolDefinition
from nodes.tool.permissions import Permissions
from tools.catalogue import InvalidCall
from tools.catalogue.mcp_call import read_mcp_call
from tools.mcp import ListedTool, McpTools
from tools.mcp.errors import McpServerError
from tools.policy import PolicyError
from tools.workspace import Workspace

MOST_TOOLS = 40
"""The most tools of servers that agents are offered. More would fill the window of small models."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""The names that APIs of models accept."""


@dataclass(frozen=True)
class ReadingServers:
    """Offers the tools that the policy allows without a question.

    An agent cannot wait for a human in the middle of its work. Tools that ask are for steps of a plan.
    """

    mcp: McpTools
    permissions: Permissions

    async def __call__(self, workspace: Workspace, base: str, thread: str) -> OfferedTools:
        """Return the tools for agents of a thread, with the function that calls them."""
        try:
            is_allowed = await self.permissions.allowed(workspace, base, thread)
        except PolicyError:  # nobody knows what the repository denies
            return OfferedTools()

        def may_call(name: str, arguments: Mapping[str, Any]) -> bool:
            call = read_mcp_call(name, dict(arguments))
            server = self.mcp.servers.get(call.server)
            return server is not None and server.reads and is_allowed(call.with_effect("read"))

        async def call_server(name: str, arguments: Mapping[str, Any]) -> str:
            try:
                call = self.mcp.read_call(name, dict(arguments))
                if not may_call(name, arguments):
                    raise ToolError(f"a human must approve {name}, so only a step of the plan can call it")
                output = await self.mcp.output(call, self.mcp.seconds)
            except (InvalidCall, McpServerError) as error:
                raise ToolError(str(error)) from error
            if output.returncode:
                raise ToolError(cut(output.stderr, CHARACTERS))
            return cut(output.stdout, CHARACTERS) or "(an empty answer)"

        listings = await self.mcp.listings(only_reading=True)
        tools = [tool for listing in listings for tool in listing.tools if _MODEL_NAME.fullmatch(tool.name)]
        offered = [tool for tool in tools if may_call(tool.name, {})]
        return OfferedTools([_definition(tool) for tool in offered[:MOST_TOOLS]], call_server)


def _definition(tool: ListedTool) -> ToolDefinition:
    schema = {"properties": {}, **tool.schema, "type": "object"}
    text = f"{tool.description} (outside of the sandbox, of the user's MCP server)".strip()
    return {"type": "function", "function": {"name": tool.name, "description": text, "parameters": schema}}
