"""A change beside its base, as a check sees it before anything runs."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from nodes.check.selection import affected
from nodes.check.suite import Suite, has_src, recognise
from nodes.check.suspicion import suspicions
from nodes.proof import Suspicion
from tools.workspace import Workspace

_TEST_FOLDERS = ("test", "tests")


@dataclass(frozen=True)
class CheckedChange:
    """The snapshots and files of a check. `added`, `edited` and `deleted` are test files.

    `base_with_new_tests` is the base with the change's test files. `head_with_old_tests` is the change with
    the base's text of the tests, and files beside them, that it edited or deleted. `old_tests` are the test
    files that this concerns. Both snapshots are None if no test file differs.
    """

    suite: Suite
    base: str
    head: str
    base_tree: str
    head_tree: str
    base_files: frozenset[str]
    head_files: frozenset[str]
    megabytes: int
    changed: tuple[str, ...]
    added: tuple[str, ...]
    edited: tuple[str, ...]
    deleted: tuple[str, ...]
    suspicious: tuple[Suspicion, ...]
    base_with_new_tests: str | None
    head_with_old_tests: str | None = None
    old_tests: tuple[str, ...] = ()

    @property
    def new_tests(self) -> tuple[str, ...]:
        """Test files that the change added or edited."""
        return tuple(sorted((*self.added, *self.edited)))

    @classmethod
    def read(cls, path: Path, base: str, head: str) -> "CheckedChange":
        """Read both snapshots of the repository at `path`. Blocks. Raises NoSuite."""
        workspace = Workspace.open(path)
        base_files, head_files = workspace.files(base), workspace.files(head)
        suite = recognise(workspace, base)  # the base's, so that a change cannot weaken its own check
        suite = replace(suite, src=suite.src or has_src(head_files))
        changes = workspace.changes(base, head)
        test_side = _TestSide(suite, base_files.keys() | head_files.keys())
        added, edited, deleted = (
            tuple(change.path for change in changes if change.status == status and suite.is_test(change.path))
            for status in ("added", "modified", "deleted")
        )
        new_side = [each.path for each in changes if each.status != "deleted" and each.path in test_side]
        old_side = [each.path for each in changes if each.status != "added" and each.path in test_side]
        with_new = None
        if added or edited:
            with_new = _with(workspace, base, head, new_side, "The base with the change's tests")
        change = cls(
            suite=suite,
            base=base,
            head=head,
            base_tree=workspace.tree(base),
            head_tree=workspace.tree(head),
            base_files=frozenset(base_files),
            head_files=frozenset(head_files),
            megabytes=max(sum(base_files.values()), sum(head_files.values())) >> 20,  # sizes are in bytes
            changed=tuple(each.path for each in changes),
            added=added,
            edited=edited,
            deleted=deleted,
            suspicious=tuple(suspicions(workspace, base, head, suite, [each.path for each in changes])),
            base_with_new_tests=with_new,
        )
        old_tests = set(edited)
        if beside := [path for path in old_side if not suite.is_test(path)]:
            tests = {*test_side.tests_near(beside), *change.affected_tests(workspace, beside)}
            old_tests |= tests & change.base_files & change.head_files
        if not old_tests:
            return change
        with_old = _with(workspace, head, base, old_side, "The change with the base's tests")
        return replace(change, old_tests=tuple(sorted(old_tests)), head_with_old_tests=with_old)

    def affected_tests(self, workspace: Workspace, changed: Collection[str]) -> list[str]:
        """Return the test files of either side that import one of the `changed` files."""
        sources = {}
        for name in sorted(self.base_files | self.head_files):
            if name.endswith(".py"):
                text = workspace.text(self.head, name) if name in self.head_files else ""
                sources[name] = text or ""
        tests = [name for name in sources if self.suite.is_test(name)]
        return affected(sources, changed, tests, self.suite.options.pythonpath)


class _TestSide:
    """The test files, the conftest.py files, and everything in test folders.

    A test folder is named `test` or `tests` and holds tests. Without tests, such a folder ships test tools of
    a library, which are part of the product.
    """

    def __init__(self, suite: Suite, files: Iterable[str]) -> None:
        self._suite = suite
        self._tests = [path for path in files if suite.is_test(path)]
        self._folders = {
            str(above)
            for path in self._tests
            for above in PurePosixPath(path).parents
            if above.name in _TEST_FOLDERS
        }

    def __contains__(self, path: str) -> bool:
        if self._suite.grade != "tests":
            return False
        if self._suite.is_test(path) or PurePosixPath(path).name == "conftest.py":
            return True
        return any(str(above) in self._folders for above in PurePosixPath(path).parents)

    def tests_near(self, paths: Iterable[str]) -> set[str]:
        """Return the tests below the nearest test folder of each data file. No import leads to such files."""
        data = [path for path in paths if not path.endswith(".py")]
        nearest = {
            next((str(above) for above in PurePosixPath(path).parents if str(above) in self._folders), "")
            for path in data
        }
        return {test for test in self._tests for folder in nearest if test.startswith(f"{folder}/")}


def _with(workspace: Workspace, snapshot: str, source: str, paths: list[str], message: str) -> str:
    """Return `snapshot` with the contents that `paths` have in `source`."""
    contents = {path: content for path in paths if (content := workspace.read(source, path)) is not None}
    return workspace.write(snapshot, contents, message)
