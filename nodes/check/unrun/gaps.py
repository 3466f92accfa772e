"""The test modules that cannot be collected, and what a change edits that only they test."""

import re
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import PurePosixPath

from nodes.check.change import CheckedChange
from nodes.check.outcomes import Outcomes, module_of, spellings
from nodes.check.runners.test_names import CODE
from nodes.check.selection import ImportGraph
from nodes.check.unrun.causes import shorten
from nodes.proof import FAILED, Uncollected
from tools.workspace import Workspace

_MOST = 10
_NO_PRODUCT = ("docs", "doc", "examples", "benchmarks", "bench", "scripts", "tools")
_NO_PRODUCT_FILES = ("setup.py", "noxfile.py", "conftest.py", "tasks.py")


class UnrunTests:
    """The test modules that run neither on the base nor on the change."""

    def __init__(self, workspace: Workspace, change: CheckedChange, base: Outcomes, head: Outcomes) -> None:
        self._workspace = workspace
        self._change = change
        self._base = base
        self._head = head

    @cached_property
    def modules(self) -> list[Uncollected]:
        """The modules with their reasons, by path. If the suite does not start, its conftest.py alone."""
        if self._base.file:
            return [Uncollected(file=self._base.file, reason=self._base.reason)] if self._head.file else []
        return [
            Uncollected(file=path, reason=reason)
            for path in self._change.base_tests
            if (reason := self._fault(self._base, path))
            and (not self._head.known or self._fault(self._head, path))
        ]

    def gaps(self) -> list[str]:
        """Return a sentence for each changed file that only these modules test, or that they test too."""
        if not self.modules or not self._head.known:
            return []
        tested = dict(self._tested_there())
        return [*tested.values(), *self._untested(tested)][:_MOST]

    def _tested_there(self) -> Iterator[tuple[str, str]]:
        """Yield the changed sources that a module imports. A module that skips itself is optional."""
        for module in self.modules:
            if self._skips(module.file):
                continue
            imports = {path for graph in self._graphs for path in graph.imports([module.file])}
            for path in self._sources:
                if path in imports or self._is_named(path, module.file):
                    yield (
                        path,
                        f"not verified: {module.file} cannot be imported here ({shorten(module.reason)}) "
                        f"and it tests {path}, which the change edits",
                    )

    def _untested(self, known: Collection[str]) -> Iterator[str]:
        """Yield the other changed sources that no collected test module imports. Only Python's are known."""
        if not self._change.suite.is_pytest:
            return
        unrun = {module.file for module in self.modules}
        for path in (path for path in self._sources if path not in known):
            reached = {test for graph in self._graphs for test in graph.importers([path])} - unrun
            if not any(self._change.suite.is_test(test) for test in reached):
                module = self.modules[0]
                yield (
                    f"not verified: no test module that runs here imports {path}, which the change edits, "
                    f"and {module.file} cannot be imported ({shorten(module.reason)})"
                )

    @cached_property
    def _graphs(self) -> tuple[ImportGraph, ImportGraph]:
        change = self._change
        return (
            change.import_graph(self._workspace, change.base),
            change.import_graph(self._workspace, change.head),
        )

    @cached_property
    def _sources(self) -> list[str]:
        """The changed Python files of the product, with another runner those of any language."""
        change = self._change
        if change.suite.runner:
            return [path for path in change.changed if CODE.search(path) and path not in change.test_side]
        return [
            path
            for path in change.changed
            if path.endswith(".py")
            and path not in change.test_side
            and PurePosixPath(path).name not in _NO_PRODUCT_FILES
            and PurePosixPath(path).parts[0] not in _NO_PRODUCT
        ]

    def _is_named(self, source: str, test: str) -> bool:
        """Return whether a test of another language names a source, as its imports do."""
        if self._change.suite.is_pytest:
            return False
        name = re.escape(PurePosixPath(source).name.partition(".")[0])
        text = self._workspace.text(self._change.base, test) or ""
        return bool(re.search(rf"(?<![\w-]){name}(?![\w-])", text))

    def _skips(self, path: str) -> bool:
        names = spellings(module_of(path))
        return any((self._base.cases or {}).get(name) == "skipped" for name in names)

    @staticmethod
    def _fault(outcomes: Outcomes, path: str) -> str:
        """Return why a test file, or a folder above it, was not collected."""
        if outcomes.runner:
            return outcomes.faults.get(f"::{path}", "")
        parts = path.removesuffix(".py").split("/")
        for count in range(len(parts), 0, -1):
            for name in spellings(".".join(parts[:count])):
                if reason := outcomes.faults.get(name):
                    return reason
                if (outcomes.cases or {}).get(name) in FAILED and count == len(parts):
                    return "it cannot be collected"
        return ""
