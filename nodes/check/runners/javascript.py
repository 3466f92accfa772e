"""The runners of JavaScript and TypeScript: vitest, jest, mocha and node's own.

Each is started as `npm test` would start it, with flags that leave a report. The repository's files stay as
they are.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from nodes.check.runners.globs import matches
from nodes.check.runners.node_reporter import NODE_REPORTER
from nodes.check.runners.package_json import Chain, Words, bare, program, split_env
from nodes.check.runners.runner import Command
from sandbox.base import REPORT

_EXTENSION = r"(?<!\.d)\.[cm]?[jt]sx?$"
_ENVIRONMENT = 'export CI=true NO_COLOR=1 PATH="$PWD/node_modules/.bin:$PATH"'
"""The setting of every runner. With CI, a missing snapshot is a failure and nothing is watched."""


@dataclass(frozen=True)
class Tool:
    """A runner's command line.

    `added` are flags for a report of every case. `dropped` matches flags that would spoil it, with `=value`,
    `values` those that take the next word as their value. `configs` matches the names of its configuration.
    """

    name: str
    added: Words
    dropped: str
    values: str
    tests: str
    place: str
    configs: str = r"(?!)"
    filters: bool = False
    """True if paths on the command line choose among the tests, where others choose the tests themselves."""
    paths_flag: Words = ()


_COMMON = r"-c|--config|-r|--require|--import|--loader|--experimental-loader|-t|--root|--project|--env"
_TESTS = rf"\.(?:test|spec){_EXTENSION}"

TOOLS: Mapping[str, Tool] = {
    "vitest": Tool(
        name="vitest",
        added=(
            *("--reporter=default", "--reporter=json", f"--outputFile.json={REPORT}"),
            *("--coverage.enabled=false", "--bail=0", "--passWithNoTests"),
        ),
        dropped=r"--(?:reporter|outputFile|coverage|bail|ui|watch|no-watch|run|update|passWithNoTests)(?:\..+)?|-[uw]",
        values=rf"{_COMMON}|--(?:reporter|outputFile|dir|testNamePattern|environment|pool|workspace|mode|exclude"
        r"|shard|testTimeout|hookTimeout|teardownTimeout|m\w+Workers|bail|retry|configLoader)",
        tests=_TESTS,
        place="a file *.test.js (or .ts) beside the code or in test/",
        configs=r"vite(?:st)?\.(?:config|workspace|projects)\.\w+",
        filters=True,
    ),
    "jest": Tool(
        name="jest",
        added=(
            *("--json", f"--outputFile={REPORT}", "--ci", "--watchAll=false", "--coverage=false"),
            *("--bail=0", "--passWithNoTests"),
        ),
        dropped=r"--(?:json|outputFile|ci|watch|watchAll|coverage|collectCoverage|bail|updateSnapshot"
        r"|passWithNoTests|silent|verbose|onlyChanged|onlyFailures|listTests|notify)|-[buo]",
        values=rf"{_COMMON}|--(?:outputFile|testNamePattern|testEnvironment|rootDir|roots|testPath\w+|maxWorkers"
        r"|reporters|setupFiles\w*|selectProjects|projects|testTimeout|testMatch|testRegex|transform|preset"
        r"|coverage\w+|collectCoverageFrom|changedSince|shard|maxConcurrency|seed|moduleNameMapper)|-w",
        tests=rf"{_TESTS}|(?:^|/)__tests__/.*{_EXTENSION}",
        place="a file *.test.js (or .ts) beside the code or in __tests__/",
        configs=r"jest\.config\.\w+",
        filters=True,
        paths_flag=("--runTestsByPath",),
    ),
    "mocha": Tool(
        name="mocha",
        added=("--reporter", "json", "--reporter-option", f"output={REPORT}", "--no-bail"),
        dropped=r"--(?:reporter|reporter-options?|watch|bail|no-bail|dry-run)|-[RObw]",
        values=rf"{_COMMON}|--(?:reporter|reporter-options?|timeout|ui|grep|fgrep|file|extension|spec|ignore|exclude"
        r"|package|watch-files|watch-ignore|jobs|retries|slow|node-option|global)|-[ROugfjsn]",
        tests=rf"{_TESTS}|(?:^|/)test/.*{_EXTENSION}",
        place="a file in test/",
        configs=r"\.mocharc\.\w+|mocha\.opts",
    ),
    "node": Tool(
        name="node --test",
        added=(
            *("--test-reporter=spec", "--test-reporter-destination=stdout"),
            *(f"--test-reporter={NODE_REPORTER}", f"--test-reporter-destination={REPORT}"),
        ),
        dropped=r"--(?:test-reporter|test-reporter-destination|watch|test-only|experimental-test-coverage"
        r"|test-coverage-\w+|test-update-snapshots)",
        values=rf"{_COMMON}|-[Ce]|--(?:env-file|conditions|eval|test-[\w-]+)",
        tests=rf"[._-]test{_EXTENSION}|(?:^|/)test(?:-[^/]*)?{_EXTENSION}|(?:^|/)test/.*{_EXTENSION}",
        place="a file *.test.js in test/, with node:test and node:assert",
    ),
}

_NAMES = {"vitest": "vitest", **dict.fromkeys(("mocha", "_mocha", "ts-mocha"), "mocha"), "jest": "jest"}
_OTHER_COMMANDS = {"bench", "list", "related", "typecheck", "init"}
_SKIPPED = {"npx", "bunx", "pnpx"}
_COVERAGE = {"c8", "nyc"}
_LINKED = re.compile(r"node_modules/(?:\.bin/)?(jest|vitest|mocha|_mocha)\b")


@dataclass(frozen=True)
class JsRunner:
    """One of the tools, started by a chain of commands. Words are as the shell reads them.

    `before` and `after` are the other commands of the chain. `patterns` are the globs of tests that its
    configuration names, `loaded` the files that it loads first. `folder` is the suite's, in front of ids.
    """

    tool: Tool
    program: Words
    arguments: Words
    env: Words = ()
    before: str = ""
    after: str = ""
    patterns: tuple[str, ...] = ()
    loaded: frozenset[str] = frozenset()
    folder: str = ""
    names_files: bool = True
    chooses_files: bool = True

    @classmethod
    def of(cls, chain: Chain) -> "JsRunner | None":
        """Return the runner of a chain of commands, None if none or several of them are known."""
        texts = [part if isinstance(part, str) else " ".join(part) for part in chain.parts]
        found = [
            (at, runner)
            for at, part in enumerate(chain.parts)
            if not isinstance(part, str) and (runner := cls._of_words(part))
        ]
        if len(found) != 1:
            return None
        at, runner = found[0]
        return runner.between(" && ".join(texts[:at]), " && ".join(texts[at + 1 :]))

    @classmethod
    def _of_words(cls, words: Words) -> "JsRunner | None":
        env, words = split_env(words)
        while words:
            name = program(words[0])
            if name in _SKIPPED or (name in ("yarn", "pnpm", "npm") and len(words) > 1):
                words = _after_flags(words[1:], ("exec", "run", "x"))
            elif name in _COVERAGE:
                words = _from_known(words[1:])
            elif name in ("env", "cross-env"):
                more, words = split_env(words)
                env += more
            else:
                break
        called = _called(words)
        if called is None:
            return None
        tool, count = called
        arguments = words[count:]
        if tool.name == "vitest" and arguments[:1]:
            if bare(arguments[0]) in _OTHER_COMMANDS:
                return None
            arguments = arguments[1:] if bare(arguments[0]) in ("run", "watch", "dev") else arguments
        return cls(tool, words[:count], _kept(arguments, tool), env)

    def between(self, before: str, after: str) -> "JsRunner":
        """Return the runner with the other commands of its chain."""
        return JsRunner(self.tool, self.program, self.arguments, self.env, before, after)

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def place(self) -> str:
        return self.tool.place

    def is_test(self, path: str) -> bool:
        """Return whether the tool, or its configuration, takes a file for a test by its name."""
        if not re.search(_EXTENSION, path) or "node_modules/" in path:
            return False
        return bool(re.search(self.tool.tests, path)) or any(matches(path, glob) for glob in self._globs)

    def is_case_of(self, case: str, path: str) -> bool:
        """Return whether a case's id starts with the path, or is that of the whole file."""
        path = f"{self.folder}/{path}" if self.folder else path
        return case.startswith(f"{path}::") or case == f"::{path}"

    def whole(self, tests: Iterable[str]) -> Command:
        """Return the command that runs all, with those of `tests` that its own paths do not reach."""
        paths = self._paths
        beyond = [path for path in tests if not any(self._reaches(bare(word), path) for word in paths)]
        return self._command((*self.arguments, *(map(shlex.quote, beyond) if paths else ())))

    def only(self, tests: Iterable[str]) -> Command:
        """Return the command for these test files, in the place of all paths."""
        paths = {*self._paths}
        kept = tuple(word for word in self.arguments if word not in paths)
        return self._command((*kept, *self.tool.paths_flag, *map(shlex.quote, tests)))

    def steers(self, path: str) -> bool:
        """Return whether the base's configuration names a file as one to load before the tests."""
        return path in self.loaded

    def defines(self, path: str) -> bool:
        """Return whether a file is the tool's configuration, or a part of the tool."""
        name = PurePosixPath(path).name
        return bool(re.fullmatch(rf"{self.tool.configs}|\.npmrc", name)) or "node_modules/" in f"/{path}"

    @property
    def _globs(self) -> list[str]:
        chosen = () if self.tool.filters else (bare(word) for word in self._paths)
        return [*self.patterns, *(word for word in chosen if re.search(r"[*?]|test|spec", word))]

    @property
    def _paths(self) -> Words:
        """The arguments that are paths of tests, not flags or their values."""
        return tuple(
            word
            for before, word in pairwise(("", *self.arguments))
            if not word.startswith("-") and not re.fullmatch(self.tool.values, before)
        )

    def _reaches(self, chosen: str, path: str) -> bool:
        if self.tool.filters and not self.tool.paths_flag:
            return chosen.removeprefix("./") in path
        return matches(path, chosen) or matches(path, f"{chosen.rstrip('/')}/**")

    def _command(self, arguments: Words) -> Command:
        start = (*self.env, *self.program, *(("run",) if self.tool.name == "vitest" else ()))
        line = " ".join((*start, *map(shlex.quote, self.tool.added), *arguments))
        chained = " && ".join(filter(None, (self.before, line, self.after)))
        return ("sh", "-c", f"{_ENVIRONMENT}; {chained}")


def _called(words: Words) -> tuple[Tool, int] | None:
    """Return the tool that a command calls, and how many words name it."""
    names = [program(word) for word in words[:2]]
    if not names:
        return None
    if names[0] in _NAMES:
        return TOOLS[_NAMES[names[0]]], 1
    if names == ["react-scripts", "test"]:
        return TOOLS["jest"], 2
    if names[0] not in ("node", "tsx"):
        return None
    if "--test" in map(bare, words):
        return TOOLS["node"], 1
    for at, word in enumerate(words[1:], start=2):
        if match := _LINKED.search(bare(word)):
            return TOOLS[_NAMES[match[1]]], at
    return None


def _kept(arguments: Words, tool: Tool) -> Words:
    """Return the arguments without those that would spoil the report, and without their values."""
    kept: list[str] = []
    value_of_dropped = False
    for word in arguments:
        flag = word.partition("=")[0]
        if value_of_dropped and not word.startswith("-"):
            value_of_dropped = False
        elif word.startswith("-") and re.fullmatch(tool.dropped, flag):
            value_of_dropped = flag == word and bool(re.fullmatch(tool.values, flag))
        else:
            kept.append(word)
            value_of_dropped = False
    return tuple(kept)


def _after_flags(words: Words, names: Sequence[str]) -> Words:
    """Return the words after a program's own flags and the names of its subcommands."""
    while words and (words[0].startswith("-") or words[0] in names):
        words = words[1:]
    return words


def _from_known(words: Words) -> Words:
    """Return the words from the first one that names a runner, or what starts one."""
    starts = {*_NAMES, *_SKIPPED, "node", "tsx", "cross-env", "env"}
    return next((words[at:] for at, word in enumerate(words) if program(word) in starts), ())
