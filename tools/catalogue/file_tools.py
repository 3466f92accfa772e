"""Tools on the files of the repository, and on the sandbox that they are in."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from tools.catalogue.parameters import MOST_WORDS, CommandName, EntryPath, RelativePath
from tools.catalogue.tool import PlanTool

Entries = Annotated[list[EntryPath], Field(min_length=1, max_length=MOST_WORDS)]


class Ls(PlanTool):
    """List a folder."""

    name, effect = "ls", "read"
    path: RelativePath = "."

    def arguments(self) -> Sequence[str]:
        return ["ls", "-la", "--", self.path]


class Cat(PlanTool):
    """Show files."""

    name, effect = "cat", "read"
    paths: Entries

    def arguments(self) -> Sequence[str]:
        return ["cat", "--", *self.paths]


class Pwd(PlanTool):
    """Show the folder in which commands run."""

    name, effect = "pwd", "read"

    def arguments(self) -> Sequence[str]:
        return ["pwd"]


class Which(PlanTool):
    """Show where a command of the sandbox is."""

    name, effect = "which", "read"
    command: CommandName

    def arguments(self) -> Sequence[str]:
        return ["which", self.command]


class EnvList(PlanTool):
    """Show the names of the environment variables in the sandbox."""

    name, effect = "env_list", "read"

    def arguments(self) -> Sequence[str]:
        return ["env", "-0"]  # a value may have several lines


class Mkdir(PlanTool):
    """Make a folder. git keeps it once a file is in it."""

    name, effect = "mkdir", "sandboxed"
    path: EntryPath

    def arguments(self) -> Sequence[str]:
        return ["mkdir", "-p", "--", self.path]


class Rm(PlanTool):
    """Delete files."""

    name, effect = "rm", "sandboxed"
    paths: Entries

    def arguments(self) -> Sequence[str]:
        return ["rm", "--", *self.paths]


class RmRf(PlanTool):
    """Delete files and whole folders."""

    name, effect = "rm_rf", "sandboxed"
    paths: Entries

    def arguments(self) -> Sequence[str]:
        return ["rm", "-rf", "--", *self.paths]


class Cp(PlanTool):
    """Copy a file or a folder."""

    name, effect = "cp", "sandboxed"
    source: EntryPath
    target: RelativePath

    def arguments(self) -> Sequence[str]:
        return ["cp", "-r", "--", self.source, self.target]


class Mv(PlanTool):
    """Move or rename a file or a folder."""

    name, effect = "mv", "sandboxed"
    source: EntryPath
    target: RelativePath

    def arguments(self) -> Sequence[str]:
        return ["mv", "--", self.source, self.target]
