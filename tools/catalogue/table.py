"""The table of tools, and the reading of calls from planners, humans and clients."""

from typing import Any

from pydantic import ValidationError

from tools.catalogue.file_tools import Cat, Cp, EnvList, Ls, Mkdir, Mv, Pwd, Rm, RmRf, Which
from tools.catalogue.git_tools import GitAdd, GitCommit, GitDiff, GitLog, GitStatus
from tools.catalogue.mcp_call import is_mcp, read_mcp_call
from tools.catalogue.python_tools import PipFreeze, PipInstall, PipList, PipUninstall, PytestRun, PythonRun
from tools.catalogue.remote_tools import GitClone, GitPull, GitPush
from tools.catalogue.tool import InvalidCall, PlanTool, faults_in_words

_PLAIN: tuple[type[PlanTool], ...] = (
    *(Ls, Cat, Pwd, Which, EnvList, Mkdir, Rm, RmRf, Cp, Mv, GitStatus, GitDiff, GitLog, GitAdd),
    *(PythonRun, PytestRun, PipList, PipFreeze),
)
"""Tools whose names say to everybody what they do."""

_OTHERS: tuple[type[PlanTool], ...] = (GitCommit, GitClone, GitPull, GitPush, PipInstall, PipUninstall)

TOOLS: dict[str, type[PlanTool]] = {tool.name: tool for tool in (*_PLAIN, *_OTHERS)}
"""All tools by name."""

_SHOWN = 100  # characters of a name that comes from outside


def read_call(name: Any, params: Any) -> PlanTool:
    """Return the tool with its parameters. Raises InvalidCall, whose text has a limited length."""
    if is_mcp(name):
        return read_mcp_call(name, params)
    # A list or an object is no key of a dictionary.
    tool = TOOLS.get(name) if isinstance(name, str) else None
    if tool is None:
        raise InvalidCall(f"there is no tool {str(name)[:_SHOWN]!r}; the tools are {', '.join(TOOLS)}")
    if params is not None and not isinstance(params, dict):
        raise InvalidCall(f"the parameters of {tool.name} must be an object: {signature(tool)}")
    try:
        return tool.model_validate(params or {})
    except ValidationError as error:
        raise InvalidCall(f"{tool.name}: {faults_in_words(error)}. It takes {signature(tool)}") from error


def signature(tool: type[PlanTool]) -> str:
    """Return the names of a tool's parameters in braces. `?` marks those that can be left out."""
    names = (f"{name}{'' if field.is_required() else '?'}" for name, field in tool.model_fields.items())
    return "{" + ", ".join(names) + "}"


def describe() -> str:
    """Return the tools for the planner: the plain ones in a line, each of the others in one of its own."""
    plain = (f"{tool.name} {signature(tool)}".removesuffix(" {}") for tool in _PLAIN)
    lines = (f"- {tool.name} {signature(tool)}: {' '.join((tool.__doc__ or '').split())}" for tool in _OTHERS)
    return "\n".join(["; ".join(plain), *lines])
