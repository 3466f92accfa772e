"""What a check needs to know of base and change before anything runs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from nodes.check.pytest_config import sensitive
from nodes.check.selection import affected
from nodes.check.suite import Suite, has_src, recognise
from tools.workspace import Workspace

_TEST_FOLDERS = ("test", "tests")
_FRESH = "The base with the change's tests"
_OLD = "The change with the base's tests"


@dataclass(frozen=True)
class Facts:
    """Base and change, side by side.

    `fresh` is the base with the change's test files, `old` the change with the base's text of what it edited
    or deleted among the tests and what lies beside them, and `weighed` the test files that this concerns.
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
    sensitive: tuple[str, ...]
    fresh: str | None
    old: str | None
    weighed: tuple[str, ...]

    @property
    def touched(self) -> tuple[str, ...]:
        """Test files that the change added or edited."""
        return tuple(sorted((*self.added, *self.edited)))

    @classmethod
    def read(cls, path: Path, base: str, head: str) -> "Facts":
        """Look at the repository at `path`. The suite is the base's: a change cannot weaken its own check."""
        workspace = Workspace.open(path)
        base_files, head_files = workspace.files(base), workspace.files(head)
        suite = recognise(workspace, base)
        if suite.grade == "tests":
            suite = replace(suite, src=suite.src or has_src(head_files))
        changes = workspace.changes(base, head)
        side = _TestSide(suite, base_files.keys() | head_files.keys())
        added, edited, deleted = (
            tuple(change.path for change in changes if change.status == status and suite.is_test(change.path))
            for status in ("added", "modified", "deleted")
        )
        fresh = [each.path for each in changes if each.status != "deleted" and each.path in side]
        old = [each.path for each in changes if each.status != "added" and each.path in side]
        beside = [path for path in old if not suite.is_test(path)]
        facts = cls(
            suite=suite,
            base=base,
            head=head,
            base_tree=workspace.tree(base),
            head_tree=workspace.tree(head),
            base_files=frozenset(base_files),
            head_files=frozenset(head_files),
            megabytes=max(sum(base_files.values()), sum(head_files.values())) >> 20,
            changed=tuple(change.path for change in changes),
            added=added,
            edited=edited,
            deleted=deleted,
            sensitive=tuple(sensitive(workspace, base, head, [change.path for change in changes])),
            fresh=_with(workspace, base, head, fresh, _FRESH) if added or edited else None,
            old=None,
            weighed=edited,
        )
        if beside:
            weighed = {*edited, *side.around(beside), *facts.reached(path, beside)}
            facts = replace(facts, weighed=tuple(sorted(weighed & facts.base_files & facts.head_files)))
        if facts.weighed:
            facts = replace(facts, old=_with(workspace, head, base, old, _OLD))
        return facts

    def reached(self, path: Path, changed: Iterable[str] | None = None) -> list[str]:
        """The test files, of base and change, that `changed` can reach; without it, all that changed."""
        workspace = Workspace.open(path)
        sources = {}
        for name in sorted(self.base_files | self.head_files):
            if name.endswith(".py"):
                text = workspace.text(self.head, name) if name in self.head_files else ""
                sources[name] = text or ""
        tests = [name for name in sources if self.suite.is_test(name)]
        start = self.changed if changed is None else tuple(changed)
        return affected(sources, start, tests, self.suite.options.pythonpath)


class _TestSide:
    """Tests and what lies beside them: conftest.py files, and all in folders named for tests that hold some.

    A folder of that name without tests ships a library's test tools.
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

    def around(self, paths: Iterable[str]) -> set[str]:
        """The test files below the nearest test folder of data files, which no import tells of."""
        data = [path for path in paths if not path.endswith(".py")]
        nearest = {
            next((str(above) for above in PurePosixPath(path).parents if str(above) in self._folders), "")
            for path in data
        }
        return {test for test in self._tests for folder in nearest if test.startswith(f"{folder}/")}


def _with(workspace: Workspace, snapshot: str, source: str, paths: list[str], message: str) -> str:
    """`snapshot` with some files as `source` has them."""
    contents = {path: content for path in paths if (content := workspace.read(source, path)) is not None}
    return workspace.write(snapshot, contents, message)
