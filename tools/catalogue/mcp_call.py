"""Calls of tools that MCP servers offer. Their parameters are checked against the server's schema later."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import ConfigDict

from tools.catalogue.tool import Effect, InvalidCall, PlanTool

PREFIX = "mcp__"
"""The names are `mcp__<server>__<tool>`, as Claude Code has them and as APIs of models accept them."""

SERVER_NAME = re.compile(r"[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*_?", re.ASCII)
"""The name of a server. Two underscores would end it."""

TOOL_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}", re.ASCII)
"""The name of a tool, as the protocol allows it."""

MOST_CHARACTERS, MOST_LEVELS = 100_000, 50


class McpCall(PlanTool):
    """A tool of an MCP server that the user has listed. `server` and `tool` are the parts of its name."""

    model_config = ConfigDict(extra="allow")

    name = PREFIX
    effect: ClassVar[Effect] = "outside"

    @property
    def server(self) -> str:
        return split_name(self.name)[0]

    @property
    def tool(self) -> str:
        return split_name(self.name)[1]

    def arguments(self) -> Sequence[str]:
        return ["mcp", self.server, self.tool, json.dumps(self.parameters(), ensure_ascii=False)]

    def subjects(self) -> Sequence[str]:
        return [
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for value in self.parameters().values()
        ]

    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def with_effect(self, effect: Effect) -> "McpCall":
        """Return the call with the effect that the user has declared."""
        return _call_type(self.name, effect).model_validate(self.parameters())


def is_mcp(name: Any) -> bool:
    """Return whether a name is meant to be one of an MCP server's tool."""
    return isinstance(name, str) and name.startswith(PREFIX)


def split_name(name: str) -> tuple[str, str]:
    """Return the server and the tool of a name. Both are empty in a name of another kind."""
    server, _, tool = name.removeprefix(PREFIX).partition("__")
    return server, tool


def read_mcp_call(name: str, params: Any) -> McpCall:
    """Return the call of a server's tool. Raises InvalidCall. Whether the server has it, is asked later."""
    server, tool = split_name(name)
    # Long names are cut before they are matched or shown.
    if len(name) > 200 or not SERVER_NAME.fullmatch(server) or not TOOL_NAME.fullmatch(tool):
        raise InvalidCall(f"{name[:100]!r} is no tool of an MCP server; write mcp__<server>__<tool>")
    if params is not None and not isinstance(params, dict):
        raise InvalidCall(f"the parameters of {name} must be an object")
    if not _is_small(params):
        raise InvalidCall(f"the parameters of {name} are too long or too deep, or no JSON")
    return _call_type(name, "outside").model_validate(params or {})


# Names come from outside, so only the last ones are kept.
@lru_cache(maxsize=64)
def _call_type(whole_name: str, declared: Effect) -> type[McpCall]:
    class NamedMcpCall(McpCall):
        """A tool of one name and effect."""

        name, effect = whole_name, declared

    return NamedMcpCall


def _is_small(value: Any) -> bool:
    """Return whether a value is JSON of a length and depth that everything can work with."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if len(level) > MOST_CHARACTERS:
            return False
        if not level:
            break
    try:
        return not level and len(json.dumps(value, allow_nan=False)) <= MOST_CHARACTERS
    except (TypeError, ValueError):
        return False
