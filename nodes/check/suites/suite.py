"""Test suites, recognised by a repository's files or named in its `.autocode.toml`."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

from nodes.check.runners.javascript import JsRunner
from nodes.check.runners.junit import JUnitRunner
from nodes.check.runners.python_suites import python_suite
from nodes.check.runners.runner import Read, Runner, TestCommand
from nodes.check.runners.usual import named_command, usual_command
from nodes.check.suites.config import CONFIG, NoSuite, TestTable, read_config
from nodes.check.suites.pytest_config import PytestOptions, read_options
from nodes.check.suites.refused_options import without_refused
from nodes.proof import Grade
from sandbox.base import REPORT
from tools.workspace import Workspace

PYTEST = ("python", "-m", "pytest")  # plain `pytest` does not put the root on the import path
FLAGS = (
    "-p",
    "no:cacheprovider",  # it would write into the repository
    "--continue-on-collection-errors",  # else one missing module stops the whole suite
    "-o",
    "junit_family=xunit2",  # report_check derives its ids from node ids
    f"--junitxml={REPORT}",
)
ROOT = "--rootdir=."

_NONE_REQUIRED = "required_plugins="
_LENIENT = ("-o", "strict_config=false", "-W", "ignore::pytest.PytestConfigWarning")
"""Flags with which pytest accepts options of missing plugins in its configuration."""

_PINS = {r"-\w*x$|--exitfirst|--maxfail": "--maxfail=0", "--junit-?prefix": "--junitprefix="}

_OTHER_PROJECTS = {
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
"""Files at the root of other ecosystems' projects, and the usual test command of each."""

_SOURCE = re.compile(r"\.(?:[jt]sx?|go|rs|java|kt|c|cc|cpp|rb|php|cs|swift|scala|ex|lua|sh)$")
_PYTHON_PROJECT = frozenset(("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"))


@dataclass(frozen=True)
class Suite:
    """One way to run a repository's tests.

    `command` holds no paths. `paths` are those of the user's own command. `seconds` is the time limit of
    `.autocode.toml`. With a `runner`, it runs the tests, and `command` is what people know it by.
    """

    command: tuple[str, ...]
    grade: Grade = "tests"
    runner: Runner | None = None
    scope: Literal["auto", "all", "affected"] = "auto"
    seconds: float | None = None
    options: PytestOptions = field(default_factory=PytestOptions)
    env: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    mutants: bool = True
    without_tests: tuple[str, ...] = ()  # folders that pytest need not walk
    cleared: tuple[str, ...] = ()  # flags that undo what a sandbox without plugins refuses
    src: bool = False  # whether there is a folder `src`, which belongs on the import path

    @property
    def place(self) -> str:
        """A path that stands for the suite's files where an environment is looked for."""
        if self.runner:
            return self.runner.place
        return "_.py" if self.grade == "tests" else "_"

    @property
    def is_pytest(self) -> bool:
        """True if pytest runs the tests. Any other command is defined by files of the repository."""
        return self.grade == "tests" and self.runner is None

    @property
    def title(self) -> str:
        """The name of the program that runs the tests, for messages."""
        return "pytest" if self.is_pytest else self.runner.name if self.runner else shlex.join(self.command)

    def is_test(self, path: str) -> bool:
        """Return whether the file at `path` holds test cases, judged by its name."""
        if self.runner:
            return self.runner.is_test(path)
        return self.grade == "tests" and self.options.is_test(path)

    def collects(self, path: str) -> bool:
        """Return whether the whole suite runs the test file at `path`, as far as names tell."""
        is_left_out = self.is_pytest and (self.options.skips(path) or not self._reaches(path))
        return self.is_test(path) and not is_left_out

    def whole(self, tests: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the command for the whole suite and those of `tests` that the suite leaves out."""
        if self.runner:
            return self.runner.whole(tests)
        start = (*self._start(), *(f"--ignore={folder}" for folder in self.without_tests))
        beyond = tuple(_argument(path) for path in tests if not self._reaches(path))
        if not beyond or self.paths:
            return (*start, *self.paths, *beyond)
        return (*start, "-o", f"testpaths={shlex.join([*self.options.testpaths, *beyond])}")

    def only(self, tests: Iterable[str]) -> tuple[str, ...]:
        """Return the command for these test files alone."""
        if self.runner:
            return self.runner.only(tests)
        return (*self._start(), *(_argument(path) for path in tests))

    def plain(self) -> "Suite":
        """Return the suite without `addopts` and required plugins, for a sandbox that lacks plugins."""
        modes = [word for word in self.options.addopts if word.startswith("--import-mode=")]
        options = replace(self.options, addopts=tuple(modes))
        return replace(self, cleared=("-o", _NONE_REQUIRED, *_LENIENT), options=options)

    def without(self, refusal: str) -> "Suite | None":
        """Return the suite without the options that pytest refused, None if nothing is left to leave out."""
        start = len(PYTEST)
        end = next(at for at in range(start, len(self.command)) if self.command[at:][: len(FLAGS)] == FLAGS)
        arguments = without_refused(self.command[start:end], refusal)
        addopts = without_refused(self.options.addopts, refusal)
        cleared = self.cleared or _LENIENT
        if "Missing required plugins" in refusal and _NONE_REQUIRED not in cleared:
            cleared = (*cleared, "-o", _NONE_REQUIRED)
        command = (*PYTEST, *arguments, *self.command[end:])
        options = replace(self.options, addopts=addopts)
        suite = replace(self, command=command, options=options, cleared=cleared)
        return None if suite == self else suite

    def _start(self) -> tuple[str, ...]:
        env = self.env
        if self.grade == "tests" and self.src and not any(word.startswith("PYTHONPATH=") for word in env):
            env = (*env, "PYTHONPATH=src")
        kept = ("-o", f"addopts={shlex.join(self.options.addopts)}") if self.cleared else ()
        return (*(("env", *env) if env else ()), *self.command, *kept, *self.cleared)

    def _reaches(self, path: str) -> bool:
        roots = self.paths or self.options.testpaths
        return not roots or any(_within(path, root) for root in roots)


def listing(command: Iterable[str]) -> tuple[str, ...]:
    """Return the command that lists the cases of `command`, one id per line in any configuration."""
    kept = (word for word in command if REPORT not in word)
    pinned = ("--verbosity=-1", "-o", "verbosity_test_cases=-1", "--capture=fd", "--color=no", "--maxfail=0")
    return (*kept, "--collect-only", *pinned)


def recognise(workspace: Workspace, snapshot: str) -> Suite:
    """Return the suite of a snapshot. Raises NoSuite."""
    files = workspace.files(snapshot)
    text = workspace.text(snapshot, CONFIG)
    if text is None and CONFIG in files:
        raise NoSuite(f"{CONFIG} is not UTF-8; save it as UTF-8")
    table = read_config(text)
    options = read_options(workspace, snapshot)

    def read(path: str) -> str | None:
        return workspace.text(snapshot, path)

    if table.command is not None:
        suite = _named(table, files, options, read)
    elif table.report:
        raise NoSuite(f"{CONFIG}: test.report needs test.command, which writes the report")
    elif _is_python(files, options):
        suite = _pytest(*python_suite(files, options, read))
    elif (usual := usual_command(files, read)) is not None:
        suite = _foreign(usual)
    else:
        raise NoSuite(_advice(files))
    if table.scope == "affected" and not suite.is_pytest:
        raise NoSuite(f'{CONFIG}: scope = "affected" works with pytest alone; remove it')
    if isinstance(
        suite.runner, JsRunner | JUnitRunner
    ):  # their reports name files from the repository's root
        suite = replace(suite, runner=replace(suite.runner, folder=workspace.folder))
    mutants = table.mutants == "on"
    return replace(suite, scope=table.scope, seconds=table.timeout, src=has_src(files), mutants=mutants)


def has_src(files: Iterable[str]) -> bool:
    """Return whether the repository has a folder `src`."""
    return any(path.startswith("src/") for path in files)


def _foreign(test: TestCommand) -> Suite:
    """Return the suite of a command that is not pytest's."""
    return Suite(command=test.command, grade="tests" if test.runner else "exit code", runner=test.runner)


def _named(table: TestTable, files: Mapping[str, int], options: PytestOptions, read: Read) -> Suite:
    """Return the suite of a command that the user wrote. Known runners are judged by their cases."""
    command = table.command or []
    words = command[1:] if command[0] == "env" else command
    count = next((at for at, word in enumerate(words) if not re.match(r"[A-Za-z_]\w*=", word)), len(words))
    env, rest = tuple(words[:count]), words[count:]
    if not rest:
        raise NoSuite(f"{CONFIG}: test.command names no program")
    if table.report:
        return _foreign(named_command(("env", *env, *rest) if env else rest, files, read, table.report))
    if PurePosixPath(rest[0]).name in ("pytest", "py.test"):
        arguments = rest[1:]
    elif re.fullmatch(r"python[\d.]*", PurePosixPath(rest[0]).name) and rest[1:3] == ["-m", "pytest"]:
        arguments = rest[3:]
    else:
        return _foreign(named_command(("env", *env, *rest) if env else rest, files, read))
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    paths = tuple(word for word in arguments if _path(word) in folders or _path(word) in files)
    return replace(_pytest([word for word in arguments if word not in paths], options), env=env, paths=paths)


def _pytest(arguments: list[str], options: PytestOptions) -> Suite:
    """Return a suite with our flags last, where they override the user's and the configuration's."""
    words = (*arguments, *options.addopts)
    # A run that stops at a failure, or renames cases, cannot be compared. Only then are the flags needed.
    pins = [pin for flags, pin in _PINS.items() if any(re.match(flags, word) for word in words)]
    # With another root directory, the cases of a part of the suite would get other ids than in the whole.
    rooted = any(word == "-c" or word.startswith(("--rootdir", "--config-file")) for word in arguments)
    root = () if rooted else (ROOT,)
    return Suite(command=(*PYTEST, *arguments, *FLAGS, *root, *pins), options=options)


def _is_python(files: Mapping[str, int], options: PytestOptions) -> bool:
    """Return whether there are tests for pytest, a Python project, or nothing of another language."""
    if options.source or not _PYTHON_PROJECT.isdisjoint(files):
        return True
    if any(options.is_test(path) or path.endswith("conftest.py") for path in files):
        return True
    if any(path in files for path in _OTHER_PROJECTS if path != "Makefile"):
        return False
    return any(path.endswith(".py") for path in files) or not any(_SOURCE.search(path) for path in files)


def _advice(files: Mapping[str, int]) -> str:
    command = next((command for path, command in _OTHER_PROJECTS.items() if path in files), "make test")
    return (
        "AutoCodeAI recognises no tests here, and nothing that looks like Python. "
        f'Write the command that tests this project into {CONFIG}:\n\n[test]\ncommand = "{command}"\n'
    )


def _argument(path: str) -> str:
    return f"./{path}" if path.startswith("-") else path  # else pytest takes it for a flag


def _path(word: str) -> str:
    return str(PurePosixPath(word.partition("::")[0]))


def _within(path: str, root: str) -> bool:
    root = _path(root)
    return root == "." or path == root or path.startswith(f"{root}/") or fnmatchcase(path, f"{root}/*")
