"""The scan of a change for what may deceive its check."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, cached_property
from pathlib import PurePosixPath
from typing import Literal

from nodes.check.suites.pytest_config import PytestOptions
from nodes.check.suites.suite import Suite
from nodes.check.suspicion.assertions import removed_assertions
from nodes.check.suspicion.doctests import edited_examples
from nodes.check.suspicion.names import SourceNames
from nodes.check.suspicion.observation import TEST_FOLDERS, ObservationRules, names_of_tests
from nodes.check.suspicion.other_languages import line_sights
from nodes.check.suspicion.sight import Sight
from nodes.check.suspicion.sources import SourceRules
from nodes.check.suspicion.special_cases import (
    Literals,
    data_literals,
    special_cases,
    test_literals,
    told_apart,
)
from nodes.check.suspicion.steering import SteeringRules, hooks
from nodes.check.suspicion.tests import CaseRules
from nodes.check.suspicion.versions import MOST_BYTES, FileVersions, UnreadableSource, parse
from nodes.check.suspicion.walk import walk
from nodes.proof import Suspicion
from tools.workspace import Workspace

MOST = 50
"""The most suspicions that a proof lists."""

_MOST_TOTAL = 4_000_000  # bytes, which take a few seconds to examine
_MOST_SEARCHED = 2_000
_USUAL = PytestOptions()
_TEST_NAME = re.compile(r"(?:^|[._-])(?:tests?|spec|check)(?:[._-]|$)|Tests?\.\w+$")
_UNRELATED = {"docs", "doc", ".github", "changelog.d", "newsfragments"}
_BUILD_FILES = {"setup.py", "noxfile.py", "fabfile.py", "dodo.py", "tasks.py"}
_SCRIPTS = re.compile(r"^(?:bench\w*|scripts?|examples?|tools|ci)(?:/|\.py$)")
_CODE = re.compile(r"\.(?:py|[cm]?[jt]sx?|go|rs|java|kt|c|cc|cpp|rb|php|cs|swift|scala|ex|lua)$")


def suspicions(
    workspace: Workspace, base: str, head: str, suite: Suite, changed: Sequence[str]
) -> list[Suspicion]:
    """Return the places that the change adds or edits and that may deceive a check of it.

    `changed` are the paths that differ. What the base has already, also elsewhere among these files, is no
    suspicion. The list ends with the number of those that it leaves out. Blocks.
    """
    if not changed:
        return []
    scan = _Scan(workspace, base, head, suite, workspace.files(base), workspace.files(head))
    files = list(scan.versions(changed))
    known = Counter(
        sight.key for file in files if file.before is not None for sight in scan.read(file, "base")
    )
    seen: list[Suspicion] = []
    for file in files:
        for sight in scan.steering.sights(file):
            seen.append(Suspicion(file=file.path, line=sight.line, text=sight.text))
    for file in files:
        for sight in [*scan.read(file, "head"), *scan.compared(file)]:
            if known[sight.key]:
                known[sight.key] -= 1
            else:
                seen.append(Suspicion(file=file.path, line=sight.line, text=sight.text))
    seen += [Suspicion(file=path, line=1, text=text) for path, text in scan.unread.items()]
    return _capped(list(dict.fromkeys(seen)))


def _capped(seen: list[Suspicion]) -> list[Suspicion]:
    if len(seen) <= MOST:
        return seen
    following = seen[MOST - 1]
    text = f"{len(seen) - MOST + 1} more places are not listed, this one the first. Read the whole change."
    return [*seen[: MOST - 1], following.model_copy(update={"text": text})]


class _Scan:
    """The rules, with what they need to know of the whole repository."""

    def __init__(
        self,
        workspace: Workspace,
        base: str,
        head: str,
        suite: Suite,
        base_files: Mapping[str, int],
        head_files: Mapping[str, int],
    ) -> None:
        self._workspace, self._suite = workspace, suite
        self._base, self._head = base, head
        self._base_files, self._head_files = base_files, head_files
        self.steering = SteeringRules.of(suite, base_files.keys(), head_files.keys())
        self.unread: dict[str, str] = {}
        self._tests: list[Literals] = []
        self._known_uses, self._is_imported = cache(self._search_base), cache(self._search_head)
        self._is_known, self._is_of_tests = cache(self._search_text), cache(self._search_definition)

    @cached_property
    def _products(self) -> set[str]:
        """The names of the files that hold code and no tests."""
        code = (path for path in self._head_files if _CODE.search(path) and not self._is_test(path))
        return {path.rpartition("/")[2] for path in code}

    @cached_property
    def _test_names(self) -> frozenset[str]:
        return names_of_tests(
            path for path in self._head_files if path.endswith(".py") and self._suite.is_test(path)
        )

    @cached_property
    def _own(self) -> set[str]:
        """The names of the modules and packages on the import path."""
        return {
            path[len(root) :].lstrip("/").partition("/")[0].partition(".")[0]
            for root in self.steering.roots
            for path in self._head_files
            if path.endswith(".py") and (not root or path.startswith(f"{root}/"))
        }

    def versions(self, changed: Sequence[str]) -> Iterator[FileVersions]:
        """Read the changed files that can be examined, and collect the new tests' constants."""
        total = 0
        for path in changed:
            sizes = (self._base_files.get(path, 0), self._head_files.get(path, 0))
            total += sum(sizes)
            python = path.endswith((".py", ".pyw"))
            if max(sizes) > MOST_BYTES or total > _MOST_TOTAL:
                if python:
                    self.unread[path] = "This source is not examined, because the change is too large."
                yield FileVersions(path, None, None)
                continue
            file = FileVersions(
                path, self._workspace.read(self._base, path), self._workspace.read(self._head, path)
            )
            if python and self._is_test(path):
                self._collect_literals(file)
            elif not _CODE.search(path) and not TEST_FOLDERS.isdisjoint(PurePosixPath(path).parts[:-1]):
                old, new = ((data or b"").decode(errors="replace") for data in (file.before, file.after))
                self._tests += data_literals(new, old)
            yield file

    def _collect_literals(self, file: FileVersions) -> None:
        try:
            old = test_literals(parse(file.before)) if file.before is not None else []
            self._tests += test_literals(parse(file.after), old) if file.after is not None else []
        except UnreadableSource:
            return

    def read(self, file: FileVersions, side: Literal["base", "head"]) -> list[Sight]:
        """Return what the rules name in one version of a Python file."""
        data = file.before if side == "base" else file.after
        if data is None or not file.path.endswith((".py", ".pyw")):
            return []
        try:
            tree = parse(data)
            return list(self._rules(file.path, tree))
        except UnreadableSource as error:
            return [Sight(f"unreadable:{file.path}:{error}", 1, f"This source {error}.")]
        except RecursionError:
            return [Sight(f"unreadable:{file.path}", 1, "This source is nested too deeply to be examined.")]

    def _rules(self, path: str, tree: ast.Module) -> Iterator[Sight]:
        nodes = walk(tree)
        if not path.endswith("conftest.py"):  # which is listed anyway
            yield from hooks(nodes)
        parts = PurePosixPath(path).parts
        script, test = _SCRIPTS.match(path), self._is_test(path)
        unrelated = parts[0] in _UNRELATED or path in _BUILD_FILES or script
        if unrelated and not test and not self._is_imported(PurePosixPath(parts[0]).stem):
            return
        names = SourceNames(tree)
        by_exit_code = self._suite.grade == "exit code"
        rules = SourceRules(names, test, self._own, self._known_uses, by_exit_code)
        for sight in rules.sights(nodes):
            yield replace(sight, key=f"{'test' if test else 'source'}:{sight.key}")
        if test:
            cases = not script and (_USUAL.is_test(path) or self._suite.is_test(path))
            yield from CaseRules(names, self._products, cases).sights(nodes)
        else:
            special = list(special_cases(tree, self._tests))
            lines = {sight.line for sight in special}
            apart = told_apart(tree, self._tests, self._is_known, self._is_of_tests)
            yield from [*special, *(sight for sight in apart if sight.line not in lines)]
            for sight in ObservationRules(names, self._test_names).sights(nodes):
                yield replace(sight, key=f"source:{sight.key}")

    def compared(self, file: FileVersions) -> Iterator[Sight]:
        """Yield what only both versions of a file together show."""
        test = self._is_test(file.path)
        if not file.path.endswith((".py", ".pyw")):
            yield from line_sights(file, test, self._products)
        elif not test and file.before is not None and file.after is not None:
            with suppress(UnreadableSource, RecursionError):
                yield from removed_assertions(parse(file.before), parse(file.after), file.first_change)
        if file.before is not None and self._runs_doctests(file.path):
            yield from edited_examples(
                "\n".join(file.old_lines), "\n".join(file.new_lines), file.first_change
            )
        if self._suite.grade == "exit code" and test and file.path in self._base_files:
            if file.path not in self._head_files:
                yield Sight(
                    f"deleted:{file.path}", 1, "It deletes a test, which the command then cannot run."
                )
            elif count := file.removed_count():
                text = f"It takes {count} lines out of a test that judges the change by its exit code."
                yield Sight(f"removed:{file.path}", file.first_change, text)

    def _runs_doctests(self, path: str) -> bool:
        words = [*self._suite.command, *self._suite.options.addopts, *self._suite.paths]
        if self._suite.grade == "exit code":
            return path.endswith((".py", ".md", ".rst", ".txt"))
        if path.endswith(".py"):
            return any("--doctest-modules" in word for word in words)
        return any("--doctest-glob" in word for word in words) and path.endswith((".md", ".rst", ".txt"))

    def _is_test(self, path: str) -> bool:
        *folders, name = path.split("/")
        if name == "conftest.py" or self._suite.is_test(path) or _USUAL.is_test(path):
            return True
        if not TEST_FOLDERS.isdisjoint(folders):
            return True
        return not path.endswith(".py") and bool(_TEST_NAME.search(name))

    def _search_head(self, module: str) -> bool:
        """Return whether a source or test of the change imports a script's module."""
        statement = re.compile(rb"\b(?:import|from)[ \t]+" + re.escape(module.encode()) + rb"\b")
        paths = [path for path in self._head_files if path.endswith(".py") and not path.startswith(module)]
        small = [path for path in paths[:_MOST_SEARCHED] if self._head_files[path] <= MOST_BYTES]
        return any(statement.search(self._workspace.read(self._head, path) or b"") for path in small)

    def _search_text(self, text: str) -> bool:
        """Return whether a source or test of the base holds a text in quotes."""
        quoted = [mark + text.encode(errors="replace") + mark for mark in (b"'", b'"', b"`")]
        paths = [path for path in self._base_files if path.endswith((".py", ".md", ".rst"))]
        small = [path for path in paths[:_MOST_SEARCHED] if self._base_files[path] <= MOST_BYTES]
        contents = (self._workspace.read(self._base, path) or b"" for path in small)
        return any(words in data for data in contents for words in quoted)

    def _search_definition(self, name: str) -> bool:
        """Return whether the tests of the change define a class or function, and no source does."""
        statement = re.compile(rb"\b(?:class|def)[ \t]+" + re.escape(name.encode(errors="replace")) + rb"\b")
        sides = {True: False, False: False}
        paths = [path for path in self._head_files if path.endswith(".py")]
        for path in paths[:_MOST_SEARCHED]:
            test = self._is_test(path)
            if not sides[test] and self._head_files[path] <= MOST_BYTES:
                sides[test] = bool(statement.search(self._workspace.read(self._head, path) or b""))
        return sides[True] and not sides[False]

    def _search_base(self, name: str) -> bool:
        """Return whether the base's sources use the module that `name` belongs to."""
        module = name.partition(".")[0].encode()
        paths = [path for path in self._base_files if path.endswith(".py") and not self._is_test(path)]
        for path in paths[:_MOST_SEARCHED]:
            if self._base_files[path] <= MOST_BYTES and module in (
                self._workspace.read(self._base, path) or b""
            ):
                return True
        return False
