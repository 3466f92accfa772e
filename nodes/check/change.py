"""A change beside its base, as a check sees it before anything runs."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from nodes.check.base_tests.base_side import BaseSide
from nodes.check.base_tests.test_data import TestData
from nodes.check.base_tests.test_side import TestSide
from nodes.check.exit_code.definition import base_definition, changed_definition
from nodes.check.selection import ImportGraph
from nodes.check.suites.suite import Suite, has_src, recognise
from nodes.check.suspicion import suspicions
from nodes.proof import Suspicion
from tools.workspace import PathError, Workspace
from tools.workspace.package import open_package

_HELPER = (
    "Only tests import it, so the base's tests ran with the base's version of it and did not judge this."
)


@dataclass(frozen=True)
class CheckedChange:
    """The snapshots and files of a check. `added`, `edited` and `deleted` are test files.

    `base_with_new_tests` is the base with the change's test files and their data, None without new cases.
    `head_with_old_tests` is the change with the base's tests and all that they consist of, None if the change
    touches none of it. `irrevocable` is the reason why they cannot be put back. `definition` are the changed
    files that say what the test command runs.
    """

    suite: Suite
    base: str
    head: str
    base_tree: str
    base_files: frozenset[str]
    head_files: frozenset[str]
    size: int
    changed: tuple[str, ...]
    added: tuple[str, ...]
    edited: tuple[str, ...]
    deleted: tuple[str, ...]
    suspicious: tuple[Suspicion, ...]
    test_side: TestSide
    definition: tuple[str, ...]
    base_with_new_tests: str | None = None
    head_with_old_tests: str | None = None
    irrevocable: str = ""
    folder: str = ""
    """The package that all paths are relative to, empty for the root."""
    file_count: int = 0
    """Number of files of the whole repository, and `size` their blocks in bytes."""
    odd_names: bool = False
    """True if a path of base or head is not UTF-8. Only whole suites run such tests."""
    near_data: tuple[str, ...] = ()
    """Test files beside changed data of tests."""
    readers: tuple[str, ...] = ()
    """Test files that the change leaves alone, and that read data which it adds or edits."""
    data_beside_tests: tuple[str, ...] = ()
    """Data of tests that the change adds to a folder with sources of the product."""

    _graphs: dict[str, ImportGraph] = field(default_factory=dict, compare=False, repr=False)
    """By snapshot, the imports that were read. A copy shares them."""

    @property
    def new_tests(self) -> tuple[str, ...]:
        """Test files that the change added or edited."""
        return tuple(sorted((*self.added, *self.edited)))

    @property
    def proving_tests(self) -> tuple[str, ...]:
        """Test files that may have new cases: the change's own, and those that read its data."""
        return (*self.new_tests, *self.readers)

    def is_of_tests(self, path: str) -> bool:
        """Return whether the file is a test, or lies among the tests, or is data that only tests read."""
        return path in self.test_side or path in self.data_beside_tests

    @classmethod
    def read(
        cls, path: Path, base: str, head: str, folder: str = "", is_dependent: bool = False
    ) -> "CheckedChange":
        """Read both snapshots of the repository at `path`, or of a package in it. Blocks. Raises NoSuite.

        A dependent package is not edited itself. Edits below the root are then those of other packages.
        """
        workspace = open_package(path, folder)
        base_files, head_files = workspace.files(base), workspace.files(head)
        rooms = [workspace.room(side) for side in (base, head)]
        suite = recognise(workspace, base)  # the base's, so that a change cannot weaken its own check
        suite = replace(suite, src=suite.src or has_src(head_files))
        changes = () if is_dependent else workspace.changes(base, head)
        changed = tuple(each.path for each in changes)
        side = TestSide(suite, base_files.keys() | head_files.keys())
        added, edited, deleted = (
            tuple(change.path for change in changes if change.status == status and side.is_test(change.path))
            for status in ("added", "modified", "deleted")
        )
        change = cls(
            suite=suite,
            base=base,
            head=head,
            base_tree=workspace.tree(base),
            base_files=frozenset(base_files),
            head_files=frozenset(head_files),
            folder=folder,
            size=max(room.bytes for room in rooms),
            file_count=max(room.files for room in rooms),
            odd_names=workspace.has_odd_names(base) or workspace.has_odd_names(head),
            changed=changed,
            added=added,
            edited=edited,
            deleted=deleted,
            suspicious=tuple(suspicions(workspace, base, head, suite, changed)),
            test_side=side,
            definition=tuple(changed_definition(workspace, suite, base, head, changed)),
            near_data=tuple(sorted(side.tests_near(changed))),
        )
        graph = cache(lambda: change.import_graph(workspace))
        return change._with_new_tests(workspace, graph)._with_old_tests(
            workspace, graph, [each.path for each in changes if each.status == "deleted"]
        )

    def _with_new_tests(self, workspace: Workspace, graph: Callable[[], ImportGraph]) -> "CheckedChange":
        """Return the change with `base_with_new_tests`, which holds all that the new tests consist of."""
        if self.suite.grade != "tests":
            return self
        side = self.test_side
        found = TestData(workspace, self.head, self.base_files, self.head_files, side, graph)
        lying = [path for path in self.changed if path in self.head_files and path in side]
        beside = found.beside(self.changed)
        readers = found.readers(path for path in lying if not path.endswith(".py")) - {*self.new_tests}
        self = replace(self, readers=tuple(sorted(readers)), data_beside_tests=tuple(beside))
        if not self.proving_tests:
            return self
        contents = {
            path: content
            for path in (*lying, *beside)
            if (content := workspace.read(self.head, path)) is not None
        }
        snapshot = workspace.write(self.base, contents, "The base with the change's tests")
        return replace(self, base_with_new_tests=snapshot)

    def _with_old_tests(
        self, workspace: Workspace, graph: Callable[[], ImportGraph], gone: Collection[str]
    ) -> "CheckedChange":
        """Return the change with `head_with_old_tests`."""
        finder = BaseSide(
            workspace=workspace,
            suite=self.suite,
            base=self.base,
            head=self.head,
            base_files=self.base_files,
            head_files=self.head_files,
            side=self.test_side,
            graph=graph,
        )
        contents = finder.contents(self.changed, gone)
        helpers = finder.helpers(self.changed) if self.suite.is_pytest else []
        taken = tuple(Suspicion(file=path, line=1, text=_HELPER) for path in helpers)
        self = replace(self, suspicious=self.suspicious + taken)
        if not self.suite.is_pytest:
            contents |= base_definition(workspace, self.base, self.head, self.definition)
        try:
            snapshot = workspace.write(self.head, contents, "The change with the base's tests")
        except PathError as error:
            return replace(self, irrevocable=str(error))
        return self if snapshot == self.head else replace(self, head_with_old_tests=snapshot)

    @property
    def base_tests(self) -> tuple[str, ...]:
        """The test files of the base."""
        return tuple(sorted(path for path in self.base_files if self.suite.is_test(path)))

    def import_graph(self, workspace: Workspace, snapshot: str = "") -> ImportGraph:
        """Return the imports in a snapshot, the change without one. Files of the other side have none."""
        snapshot = snapshot or self.head
        if snapshot not in self._graphs:
            names = (name for name in sorted(self.base_files | self.head_files) if name.endswith(".py"))
            sources = {name: workspace.text(snapshot, name) or "" for name in names}
            self._graphs[snapshot] = ImportGraph(sources, self.suite.options.pythonpath)
        return self._graphs[snapshot]

    def affected_tests(self, workspace: Workspace, changed: Collection[str]) -> list[str]:
        """Return the suite's test files of either side that import one of the `changed` files, or are one."""
        reached = self.import_graph(workspace).importers(changed)
        # The suite may leave out a file that cannot run, which would fail if a command named it.
        tests = (path for path in reached if self.suite.is_test(path))
        return sorted(path for path in tests if path in changed or self.suite.collects(path))
