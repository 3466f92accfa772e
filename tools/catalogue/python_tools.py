"""Tools that run Python, and those on its packages."""

import re
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from tools.catalogue.parameters import (
    MOST_WORDS,
    Distribution,
    EntryPath,
    PackageSpecifier,
    PlainLine,
    RelativePath,
    TestSelector,
    Text,
    Word,
    package_name,
)
from tools.catalogue.tool import PlanTool

# An environment need not have pip. The standard library knows its packages just as well.
_PACKAGES = "import importlib.metadata as m\nfor n, v in sorted({(d.metadata['Name'] or '', d.version) "
_LIST = _PACKAGES + "for d in m.distributions()}, key=lambda p: p[0].lower()):\n    print(f'{n:<30} {v}')"
_FREEZE = _PACKAGES + "for d in m.distributions()}, key=lambda p: p[0].lower()):\n    print(f'{n}=={v}')"

_NAME_PATTERN = re.compile(r"[A-Za-z0-9._*-]*")


class PythonRun(PlanTool):
    """Run a Python file of the repository with arguments, or a short program."""

    name, effect = "python_run", "sandboxed"
    file: EntryPath | None = None
    code: Text | None = None
    args: list[Word] = Field(default_factory=list, max_length=MOST_WORDS)

    @model_validator(mode="after")
    def _choose(self) -> Self:
        if (self.file is None) == (self.code is None):
            raise ValueError("give `file` or `code`, and not both")
        return self

    def arguments(self) -> Sequence[str]:
        program = [self.file] if self.file is not None else ["-c", self.code or ""]
        return ["python", *program, *self.args]


class PytestRun(PlanTool):
    """Run tests with pytest."""

    name, effect = "pytest_run", "sandboxed"
    paths: list[TestSelector] = Field(default_factory=list, max_length=MOST_WORDS)
    keyword: PlainLine | None = Field(None, description="an expression of pytest's -k")

    def arguments(self) -> Sequence[str]:
        # One word with its option, because an expression may begin with a dash.
        keyword = [f"-k={self.keyword}"] if self.keyword is not None else []
        return ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *keyword, "--", *self.paths]


class PipList(PlanTool):
    """List the installed Python packages."""

    name, effect = "pip_list", "read"

    def arguments(self) -> Sequence[str]:
        return ["python", "-c", _LIST]


class PipFreeze(PlanTool):
    """List the installed Python packages as requirements."""

    name, effect = "pip_freeze", "read"

    def arguments(self) -> Sequence[str]:
        return ["python", "-c", _FREEZE]


class PackagesTool(PlanTool):
    """A tool on named packages. A policy knows them by their normalised names.

    `folder` is that of the declaration. Without it, there must be only one to choose.
    """

    folder: RelativePath | None = None

    @classmethod
    def as_subject(cls, pattern: str) -> str:
        if not _NAME_PATTERN.fullmatch(pattern):
            raise ValueError("write the name of a package alone, where `*` stands for any text")
        return re.sub(r"[-_.]+", "-", pattern).lower()


class PipInstall(PackagesTool):
    """Add Python packages to the environment of the tests, and to what declares it."""

    name, effect = "pip_install", "outside"
    packages: Annotated[list[PackageSpecifier], Field(min_length=1, max_length=MOST_WORDS)]

    def arguments(self) -> Sequence[str]:
        return ["pip", "install", *self.packages]

    def subjects(self) -> Sequence[str]:
        return [package_name(package) for package in self.packages]


class PipUninstall(PackagesTool):
    """Take Python packages out of the environment of the tests, and out of what declares it."""

    name, effect = "pip_uninstall", "outside"
    packages: Annotated[list[Distribution], Field(min_length=1, max_length=MOST_WORDS)]

    def arguments(self) -> Sequence[str]:
        return ["pip", "uninstall", "--yes", *self.packages]

    def subjects(self) -> Sequence[str]:
        return [package_name(package) for package in self.packages]
