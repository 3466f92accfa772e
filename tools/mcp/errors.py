"""Errors of MCP servers."""


class McpServerError(Exception):
    """A server cannot be started or reached, or has failed. The text names it, and says what to do."""
