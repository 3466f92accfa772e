"""Tools as their servers list them. Names, texts and schemas are untrusted, and all of them are limited."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memory.validation import valid_text
from tools.catalogue.mcp_call import PREFIX, TOOL_NAME

MOST_TOOLS = 100
"""The most tools of a server."""

MOST_SCHEMA = 10_000
"""The most characters of a tool's schema. A tool with a longer one is left out."""

DESCRIPTION = 200
"""The most characters of a description."""

_MOST_LEVELS, _MOST_PARAMETERS, _MOST_CHOICES = 30, 20, 6
_TEXTS = ("description", "title")
_DROPPED = ("$schema", "$comment", "examples", "default", "markdownDescription")


@dataclass(frozen=True)
class ListedTool:
    """A tool of a server: its whole name, one plain line about it, and the schema of its parameters."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return the tool as a planner reads of it, in one line."""
        return f"- {self.name} {signature(self.schema)}: {self.description}"


@dataclass(frozen=True)
class ServerListing:
    """The tools of a server, or the problem that it has. `left_out` counts tools that cannot be used."""

    server: str
    tools: tuple[ListedTool, ...] = ()
    left_out: int = 0
    problem: str = ""
    reads: bool = False


def listed(server: str, tool: str, description: str | None, schema: Any) -> ListedTool | None:
    """Return a tool, None if its name or schema cannot be used."""
    if not TOOL_NAME.fullmatch(tool) or not isinstance(schema, dict):
        return None
    try:
        plain = _plain_schema(schema, _MOST_LEVELS)
    except ValueError:
        return None
    if len(json.dumps(plain)) > MOST_SCHEMA:
        return None
    return ListedTool(f"{PREFIX}{server}__{tool}", plain_line(description or ""), plain)


def plain_line(text: str, most: int = DESCRIPTION) -> str:
    """Return a text as one line of printable characters, cut at a length."""
    # The cut comes first, so that a long text costs nothing.
    words = "".join(char if char.isprintable() else " " for char in valid_text(text[: 4 * most])).split()
    line = " ".join(words)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def signature(schema: Mapping[str, Any]) -> str:
    """Return the names and types of parameters in braces. `?` marks those that can be left out."""
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, dict):
        return "{}"
    needed = required if isinstance(required, list) else []
    names = [
        f"{plain_line(name, 50)}{'' if name in needed else '?'}: {_type(inner)}"
        for name, inner in list(properties.items())[:_MOST_PARAMETERS]
    ]
    return "{" + ", ".join([*names, *(["…"] if len(properties) > _MOST_PARAMETERS else [])]) + "}"


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any"
    choices = schema.get("enum")
    if isinstance(choices, list) and 0 < len(choices) <= _MOST_CHOICES:
        return "|".join(plain_line(str(choice), 30) for choice in choices)
    kind = schema.get("type")
    return plain_line(kind, 20) if isinstance(kind, str) else "any"


def _plain_schema(value: Any, levels: int) -> Any:
    """Return a schema whose texts are short lines. Raises ValueError if it is too deep."""
    if not levels:
        raise ValueError("a schema is too deep")
    if isinstance(value, dict):
        plain: dict[str, Any] = {}
        for key, inner in value.items():
            # A parameter can be called `description` too, and is an object then.
            if key in _DROPPED and not isinstance(inner, dict):
                continue
            short = plain_line(inner) if key in _TEXTS and isinstance(inner, str) else inner
            plain[valid_text(key)] = _plain_schema(short, levels - 1)
        return plain
    if isinstance(value, list):
        return [_plain_schema(inner, levels - 1) for inner in value]
    return valid_text(value) if isinstance(value, str) else value
