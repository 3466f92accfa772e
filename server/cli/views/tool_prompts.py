"""Questions about tool steps on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from server.cli.views.format import one_line, sanitize
from server.cli.views.summary import render_diff

SCOPES = {"a": None, "approve": None, "y": None, "yes": None, "u": "run", "p": "repository"}
"""The letters and words that approve, with the scope of the answer."""

PROMPT = "[a]pprove, also the same later in this r[u]n or in this re[p]ository, [e]dit, [r]eject? "
PROMPT_AGAIN = "[a]pprove, [e]dit, [r]eject? "
WHY = "why? (the planner reads it) "


def tool_title(request: Mapping[str, Any]) -> str:
    """Return the heading of a request."""
    return f"YOUR APPROVAL: {one_line(str(request.get('tool', 'tool')))}"


def tool_prompt(request: Mapping[str, Any]) -> str:
    """Return the line that asks for an answer."""
    return PROMPT_AGAIN if request.get("uncertain") else PROMPT


def approval(choice: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the approval that a person typed, None if it was something else."""
    if choice not in SCOPES:
        return None
    scope = SCOPES[choice]
    if scope is None:
        return {"decision": "approve"}
    has_scopes = request.get("kind") == "tool" and not request.get("uncertain")
    return {"decision": "approve", "scope": scope} if has_scopes else None


def render_tool(request: Mapping[str, Any]) -> RenderableType:
    """Render a request, without its heading and its choices."""
    parts: list[RenderableType] = [Text(sanitize(str(request.get("step", ""))))]
    parts.append(Padding(Text(f"$ {sanitize(str(request.get('command', '')))}", style="bold"), (0, 0, 0, 2)))
    if remote := request.get("remote"):
        parts.append(Text(f"The remote is {one_line(str(remote))}."))
    if difference := request.get("difference"):
        parts.append(render_diff("\n".join(map(str, difference)), limit=None))
    if renewal := request.get("renewal"):
        parts.append(Text(f"The lock is renewed, with network: {one_line(str(renewal))}"))
    style = "red" if request.get("uncertain") else "dim"
    parts.append(Text(f"Why: {sanitize(str(request.get('reason', '')))}", style=style))
    return Group(*parts)
