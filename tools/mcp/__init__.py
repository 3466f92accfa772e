"""Tools of MCP servers that the user lists in AUTOCODE_HOME/mcp.json."""

from tools.mcp.listing import ListedTool, ServerListing
from tools.mcp.servers import McpConfigError, McpServer, read_servers
from tools.mcp.toolset import McpTools

__all__ = ["ListedTool", "McpConfigError", "McpServer", "McpTools", "ServerListing", "read_servers"]
