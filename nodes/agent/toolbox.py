"""The tools that agents can call: their names, their parameters, and what the model reads about them.

Names and parameters are those of deepagents, because models and users of LangChain know them.
"""

from functools import cache

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from nodes.llm.tool_calls import ToolDefinition, define_tool
from sandbox.base import Limits

LINES = 500
"""Lines of a file that are shown at once."""


class Parameters(BaseModel):
    """The parameters of a tool. The title is the tool's name, the docstring its description."""

    model_config = ConfigDict(extra="forbid")


class ShellCommand(Parameters):
    """Run a shell command in the root of the repository, without a network.

    The files that it writes stay, the processes that it leaves end. Use it to look around (rg, git log), to
    run tests, and to try things out. `git diff` shows what you have changed, `git diff base` the whole run.
    git has the last 40 commits.
    """

    model_config = ConfigDict(title="execute")
    command: str = Field(min_length=1)


class ReadFile(Parameters):
    """Read a file with line numbers."""

    model_config = ConfigDict(title="read_file")
    file_path: str = Field(min_length=1)
    offset: NonNegativeInt = Field(default=0, description="lines to skip")
    limit: PositiveInt = Field(default=LINES, description="lines to show")


class EditFile(Parameters):
    """Replace a text in a file by another one. The old text must occur once, unless all are replaced."""

    model_config = ConfigDict(title="edit_file")
    file_path: str = Field(min_length=1)
    old_string: str = Field(min_length=1, description="copied exactly, without line numbers")
    new_string: str
    replace_all: bool = False


class WriteFile(Parameters):
    """Write a whole file, new or old."""

    model_config = ConfigDict(title="write_file")
    file_path: str = Field(min_length=1)
    content: str


class Search(Parameters):
    """Search the repository by meaning and by name. A symbol or a path finds its definition and its uses."""

    model_config = ConfigDict(title="search")
    query: str = Field(min_length=1)


TOOLS: dict[str, type[Parameters]] = {
    str(tool.model_config["title"]): tool for tool in (ShellCommand, ReadFile, EditFile, WriteFile, Search)
}


@cache
def definitions(limits: Limits, *, search: bool = True) -> tuple[ToolDefinition, ...]:
    """Return the tools as models take them, without the search where there is nothing to search."""
    tools = [define_tool(name, tool) for name, tool in TOOLS.items() if search or name != "search"]
    most = f" A command may take {limits.seconds:g} s and {limits.memory_mb} MB of memory."
    tools[0]["function"]["description"] += most
    return tuple(tools)
