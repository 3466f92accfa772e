"""The packages that a change concerns: those that it edits, and those that depend on them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nodes.check.suites.package_graph import PackageGraph
from nodes.check.suites.packages import Packages
from tools.workspace import Workspace

MOST_DEPENDENTS = 6
"""Dependent packages that are checked, because each takes an environment and the time of its suite."""

_SHOWN = re.compile(r"(?:^|/)(?:examples?|samples?|demos?|docs?|benchmarks?)(?:/|$)")
"""Folders that show the product. They often install its last release."""


@dataclass(frozen=True)
class Reach:
    """The folders of packages that a change concerns. The root is the empty folder.

    `dependents` depend on the `edited` ones, directly or through others, the nearest first. `left_out` are
    more of them than are checked. `unread` are packages whose declarations cannot be read.
    """

    edited: tuple[str, ...]
    dependents: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, workspace: Workspace, base: str, head: str) -> "Reach":
        """Find the packages by the base's declarations and imports. Blocks."""
        return _find(workspace.path, base, head)


@lru_cache(maxsize=8)  # a check asks more than once, and a large repository takes seconds
def _find(path: Path, base: str, head: str) -> Reach:
    workspace = Workspace.open(path)
    packages = Packages(workspace, base, head)
    paths = [change.path for change in workspace.changes(base, head)]
    edited = tuple(packages.of(paths))
    if not packages.declared:
        return Reach(edited)
    graph = PackageGraph(workspace, base, packages.declared)
    starts = {graph.nearest(path) for path in paths if packages.reaches_others(path)}

    def is_checked(folder: str) -> bool:
        return folder not in edited and not _SHOWN.search(folder) and packages.runs_tests(folder)

    dependents = tuple(filter(is_checked, graph.dependents(starts)))
    unread = tuple(filter(is_checked, graph.unread(starts))) if starts else ()
    return Reach(
        edited=edited,
        dependents=dependents[:MOST_DEPENDENTS],
        left_out=dependents[MOST_DEPENDENTS:],
        unread=tuple(folder for folder in unread if folder not in dependents),
    )
