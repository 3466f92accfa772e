"""Errors of tools."""


class ToolError(Exception):
    """A tool call that cannot be carried out. The text tells the model why, and what to do instead."""
