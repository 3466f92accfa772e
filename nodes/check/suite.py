"""How a repository's tests are run: recognised from its files, or named in its `.autocode.toml`."""

import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, field_validator

from nodes.check.pytest_config import Options, options
from nodes.proof import Grade
from sandbox.base import REPORT
from tools.workspace import Workspace

CONFIG = ".autocode.toml"

PYTEST = ("python", "-m", "pytest")
FLAGS = (
    "-p",
    "no:cacheprovider",
    "--continue-on-collection-errors",
    "-o",
    "junit_family=xunit2",
    f"--junitxml={REPORT}",
)

_LENIENT = ("-o", "strict_config=false", "-W", "ignore::pytest.PytestConfigWarning")
"""What lets pytest start with options in its configuration that belong to a missing plugin."""

_ELSEWHERE = {
    "package.json": "npm test",
    "go.mod": "go test ./...",
    "Cargo.toml": "cargo test",
    "pom.xml": "mvn test",
    "build.gradle": "gradle test",
    "build.gradle.kts": "gradle test",
    "Gemfile": "bundle exec rake test",
    "composer.json": "composer test",
    "CMakeLists.txt": "ctest",
    "Makefile": "make test",
}
"""Files at the root that mark another ecosystem's project, and the command that usually tests it."""

_SOURCE = re.compile(r"\.(?:[jt]sx?|go|rs|java|kt|c|cc|cpp|rb|php|cs|swift|scala|ex|lua|sh)$")
_PYTHON_PROJECT = frozenset(("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"))


class NoSuite(Exception):
    """It cannot be told how the tests are run; the message says what to write in `.autocode.toml`."""


class _Test(BaseModel):
    """The table `[test]` of `.autocode.toml`."""

    model_config = ConfigDict(extra="forbid")

    command: list[str] | None = Field(default=None, min_length=1)
    scope: Literal["auto", "all", "affected"] = "auto"
    timeout: PositiveFloat | None = None

    @field_validator("command", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        words = shlex.split(value)
        if any(word in ("&&", "||", ";", "|", ">", "<") for word in words):
            raise ValueError(f'a shell is not used; write ["sh", "-c", {value!r}] if you want one')
        return words


class _File(BaseModel):
    test: _Test = _Test()


@dataclass(frozen=True)
class Suite:
    """One way to run a repository's tests.

    `command` names no path; `paths` are those that the user's own command names, `testpaths` those of
    pytest's configuration. `seconds` is the limit that `.autocode.toml` sets.
    """

    command: tuple[str, ...]
    grade: Grade = "tests"
    scope: Literal["auto", "all", "affected"] = "auto"
    seconds: float | None = None
    options: Options = field(default_factory=Options)
    env: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    src: bool = False

    def is_test(self, path: str) -> bool:
        """True when the file at `path` holds test cases, by its name."""
        return self.grade == "tests" and self.options.is_test(path)

    def whole(self, tests: Iterable[str] = ()) -> tuple[str, ...]:
        """The command for everything, together with those of `tests` that it would not reach by itself."""
        beyond = tuple(_argument(path) for path in tests if not self._reaches(path))
        if not beyond or self.paths:
            return (*self._start(), *self.paths, *beyond)
        return (*self._start(), "-o", f"testpaths={shlex.join([*self.options.testpaths, *beyond])}")

    def only(self, tests: Iterable[str]) -> tuple[str, ...]:
        """The command for some test files alone, with the same ids for their cases as in the whole run."""
        rooted = any(word == "-c" or word.startswith(("--rootdir", "--config-file")) for word in self.command)
        root = () if rooted else ("--rootdir=.",)
        return (*self._start(), *root, *(_argument(path) for path in tests))

    def describe(self) -> str:
        """How the tests are run, in words for whoever writes some."""
        command = shlex.join(word for word in self.whole() if REPORT not in word)
        if self.grade == "exit code":
            return f"`{command}`, judged by its exit code"
        roots = self.paths or self.options.testpaths
        where = f" under {', '.join(roots)}" if roots else ""
        return f"`{command}`; test files are named {', '.join(self.options.files)}{where}"

    def plain(self) -> "Suite":
        """The same suite without `addopts` and required plugins, for a sandbox that lacks these plugins."""
        modes = [word for word in self.options.addopts if word.startswith("--import-mode=")]
        cleared = ("-o", f"addopts={shlex.join(modes)}", "-o", "required_plugins=", *_LENIENT)
        return replace(self, command=(*self.command, *cleared), options=replace(self.options, addopts=()))

    def _start(self) -> tuple[str, ...]:
        env = self.env
        if self.src and not any(word.startswith("PYTHONPATH=") for word in env):
            env = (*env, "PYTHONPATH=src")
        return (*(("env", *env) if env else ()), *self.command)

    def _reaches(self, path: str) -> bool:
        roots = self.paths or self.options.testpaths
        return not roots or any(_within(path, root) for root in roots)


def listing(command: Iterable[str]) -> tuple[str, ...]:
    """The command that lists the cases of `command`, one id a line, whatever the configuration adds."""
    kept = (word for word in command if REPORT not in word)
    pinned = ("--verbosity=-1", "-o", "verbosity_test_cases=-1", "--capture=fd", "--color=no", "--maxfail=0")
    return (*kept, "--collect-only", *pinned)


def recognise(workspace: Workspace, snapshot: str) -> Suite:
    """How the tests of `snapshot` are run. Raises NoSuite when that cannot be told."""
    files = workspace.files(snapshot)
    told = _told(workspace.text(snapshot, CONFIG))
    found = options(workspace, snapshot)
    if told.command is None:
        if not _is_python(files, found):
            raise NoSuite(_advice(files))
        suite = _pytest([], found)
    else:
        suite = _named(told.command, files, found)
    if told.scope == "affected" and suite.grade != "tests":
        raise NoSuite(f'{CONFIG}: scope = "affected" works with pytest alone; remove it')
    src = suite.grade == "tests" and has_src(files)
    return replace(suite, scope=told.scope, seconds=told.timeout, src=src)


def has_src(files: Iterable[str]) -> bool:
    """True when the repository has a folder `src`."""
    return any(path.startswith("src/") for path in files)


def _told(text: str | None) -> _Test:
    if text is None:
        return _Test()
    try:
        return _File.model_validate(tomllib.loads(text)).test
    except tomllib.TOMLDecodeError as error:
        raise NoSuite(f"{CONFIG} is not valid TOML: {error}") from error
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise NoSuite(f"{CONFIG}: {'; '.join(lines)}") from error


def _named(command: list[str], files: Mapping[str, int], found: Options) -> Suite:
    """The suite of a command that the user wrote; pytest is known by its name and graded by its cases."""
    words = command[1:] if command[0] == "env" else command
    count = next((at for at, word in enumerate(words) if not re.match(r"[A-Za-z_]\w*=", word)), len(words))
    env, rest = tuple(words[:count]), words[count:]
    if not rest:
        raise NoSuite(f"{CONFIG}: test.command names no program")
    if PurePosixPath(rest[0]).name in ("pytest", "py.test"):
        arguments = rest[1:]
    elif re.fullmatch(r"python[\d.]*", PurePosixPath(rest[0]).name) and rest[1:3] == ["-m", "pytest"]:
        arguments = rest[3:]
    else:
        return Suite(command=("env", *env, *rest) if env else tuple(rest), grade="exit code")
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    paths = tuple(word for word in arguments if _path(word) in folders or _path(word) in files)
    return replace(_pytest([word for word in arguments if word not in paths], found), env=env, paths=paths)


def _pytest(arguments: list[str], found: Options) -> Suite:
    """A suite with our flags last, so that they win over those of the user and the configuration."""
    words = (*arguments, *found.addopts)
    pins = [
        pin
        for pattern, pin in (
            (r"-\w*x$|--exitfirst|--maxfail", "--maxfail=0"),
            ("--junit-?prefix", "--junitprefix="),
        )
        if any(re.match(pattern, word) for word in words)
    ]
    return Suite(command=(*PYTEST, *arguments, *FLAGS, *pins), options=found)


def _is_python(files: Mapping[str, int], found: Options) -> bool:
    """True for tests of pytest's, a Python project, or nothing yet that speaks against one."""
    if found.source or any(found.is_test(path) or path.endswith("conftest.py") for path in files):
        return True
    if any(path in _PYTHON_PROJECT for path in files):
        return True
    foreign = any(path in _ELSEWHERE and path != "Makefile" for path in files)
    if any(path.endswith(".py") for path in files):
        return not foreign
    return not foreign and not any(_SOURCE.search(path) for path in files)


def _advice(files: Mapping[str, int]) -> str:
    command = next((command for path, command in _ELSEWHERE.items() if path in files), "make test")
    return (
        "no tests that AutoCodeAI recognises, and nothing that looks like Python. "
        f'Write the command that tests this project into {CONFIG}:\n\n[test]\ncommand = "{command}"\n'
    )


def _argument(path: str) -> str:
    return f"./{path}" if path.startswith("-") else path


def _path(word: str) -> str:
    return str(PurePosixPath(word.partition("::")[0]))


def _within(path: str, root: str) -> bool:
    root = _path(root)
    return root == "." or path == root or path.startswith(f"{root}/") or fnmatchcase(path, f"{root}/*")
