"""What a check needs to know of base and change before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from nodes.check.selection import affected
from nodes.check.steering import sensitive
from nodes.check.suite import Suite, has_src, recognise
from tools.workspace import Workspace

_TEST_FOLDERS = ("test", "tests")


@dataclass(frozen=True)
class Facts:
    """Base and change, side by side.

    `fresh` is the base with the change's test files, `old` the change with the base's text of the test files
    that it edited; None when no test file was touched, or none edited.
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
        changed: dict[Literal["added", "modified", "deleted"], list[str]] = {
            "added": [],
            "modified": [],
            "deleted": [],
        }
        for change in changes:
            changed[change.status].append(change.path)
        added, edited, deleted = (tuple(filter(suite.is_test, paths)) for paths in changed.values())
        return cls(
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
            fresh=_fresh(workspace, base, head, suite, (*changed["added"], *changed["modified"])),
            old=_with(workspace, head, base, edited, "The change with the base's tests"),
        )

    def reached(self, path: Path) -> list[str]:
        """The test files, of base and change, that the change can reach."""
        workspace = Workspace.open(path)
        sources = {}
        for name in sorted(self.base_files | self.head_files):
            if name.endswith(".py"):
                text = workspace.text(self.head, name) if name in self.head_files else ""
                sources[name] = text or ""
        tests = [name for name in sources if self.suite.is_test(name)]
        return affected(sources, self.changed, tests, self.suite.options.pythonpath)


def _fresh(workspace: Workspace, base: str, head: str, suite: Suite, touched: tuple[str, ...]) -> str | None:
    """The base with the change's tests and what lies beside them: a helper that is missing proves nothing."""
    tests = [path for path in touched if suite.is_test(path)]
    if not tests:
        return None
    folders = _test_folders(workspace.files(head), suite)
    beside = [path for path in touched if any(str(above) in folders for above in PurePosixPath(path).parents)]
    conftests = [path for path in touched if PurePosixPath(path).name == "conftest.py"]
    return _with(workspace, base, head, (*tests, *beside, *conftests), "The base with the change's tests")


def _test_folders(files: Mapping[str, int], suite: Suite) -> set[str]:
    """Folders that are named for tests and hold some; one that ships a library's test tools holds none."""
    folders = {
        str(PurePosixPath(path).parent)
        for path in files
        if suite.is_test(path) or path.endswith("conftest.py")
    }
    named = {
        str(above)
        for folder in folders
        for above in (PurePosixPath(folder), *PurePosixPath(folder).parents)
        if above.name in _TEST_FOLDERS
    }
    return named


def _with(
    workspace: Workspace, snapshot: str, source: str, paths: tuple[str, ...], message: str
) -> str | None:
    """`snapshot` with some files as `source` has them; None without paths."""
    contents = {path: content for path in paths if (content := workspace.read(source, path)) is not None}
    return workspace.write(snapshot, contents, message) if contents else None
