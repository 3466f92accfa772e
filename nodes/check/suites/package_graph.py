"""The packages of a snapshot and which of them depend on which, by declarations and Python imports."""

import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import PurePosixPath

from nodes.check.runners.test_names import is_test_name
from nodes.check.selection import imported_names
from nodes.environment.need import Texts
from sandbox.environment.detection.dependencies import DeclaredLinks
from sandbox.environment.detection.sources import Sources, folders_above
from tools.workspace import Workspace

_ROOTS = ("src", "lib", "python")
_NO_MODULES = frozenset(
    ("tests", "test", "docs", "doc", "examples", "scripts", "setup", "conftest", "noxfile")
)


class PackageGraph:
    """The packages of a snapshot: `folders`, which declare something, and the root, the empty folder."""

    def __init__(self, workspace: Workspace, snapshot: str, folders: Collection[str]) -> None:
        self._folders = frozenset((*folders, ""))
        self._texts = Texts(workspace, snapshot)
        self._sources = Sources(self._texts)
        self._files: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self._texts):
            self._files[self.nearest(path)].append(path)

    def nearest(self, path: str) -> str:
        """Return the package that holds a path, with or without tests."""
        return next(folder for folder in folders_above(path) if folder in self._folders)

    def dependents(self, starts: Iterable[str]) -> list[str]:
        """Return the packages that depend on others, directly or through further ones, the nearest first."""
        known = set(starts)
        ahead = sorted(known)
        found: list[str] = []
        while ahead:
            ahead = sorted(
                folder
                for folder in self._folders - known
                if any(self._depends(folder, other) for other in ahead)
            )
            known |= {*ahead}
            found += ahead
        return found

    def unread(self, starts: Iterable[str]) -> list[str]:
        """Return the packages whose declarations may name one of others, and were not read."""
        ecosystems = {name for start in starts for name in self._links[start].unread}
        return sorted(
            folder
            for folder, links in self._links.items()
            if links.is_broken or not ecosystems.isdisjoint(links.unread)
        )

    def _depends(self, folder: str, other: str) -> bool:
        mine, its = self._links[folder], self._links[other]
        if other in mine.folders or not mine.needs.isdisjoint(its.names):
            return True
        held = self._modules[other] - self._modules[folder]
        return any(_holds(held, name) for name in self._imports[folder])

    @cached_property
    def _links(self) -> dict[str, DeclaredLinks]:
        return {
            folder: DeclaredLinks.read(self._sources, folder, self._files[folder]) for folder in self._folders
        }

    @cached_property
    def _modules(self) -> dict[str, frozenset[str]]:
        return {folder: frozenset(_modules(folder, self._files[folder])) for folder in self._folders}

    @cached_property
    def _imports(self) -> dict[str, frozenset[str]]:
        """By package, the names that its Python files import, as far as other packages may hold them."""
        return {folder: frozenset(self._imported(folder)) for folder in self._folders}

    def _imported(self, folder: str) -> Iterator[str]:
        others = {name for other in self._folders - {folder} for name in self._modules[other]}
        tops = {name.partition(".")[0] for name in others - self._modules[folder]}
        if not tops:
            return
        # Only sources with a line that looks like such an import are parsed, as parsing takes long.
        name = rf"(?:{'|'.join(sorted(tops))})\b"
        hint = re.compile(rf"\b(?:from|import)\b[^#\n]{{0,200}}\b{name}|[\"']{name}")
        for path in self._files[folder]:
            if path.endswith(".py") and hint.search(text := self._texts[path]):
                yield from imported_names(path, text)


def _holds(modules: Collection[str], name: str) -> bool:
    """Return whether one of some modules is `name` or lies above it."""
    parts = name.split(".")
    return any(".".join(parts[:count]) in modules for count in range(1, len(parts) + 1))


def _modules(folder: str, paths: Iterable[str]) -> Iterator[str]:
    """Yield the Python modules that a package holds, at its folder or below `src`.

    Parts of a namespace package count, not the namespace, which other packages may share.
    """
    start = PurePosixPath(folder)
    sources = [PurePosixPath(path).relative_to(start).parts for path in paths if path.endswith(".py")]
    relative = {parts[1:] if parts[0] in _ROOTS and parts[1:] else parts for parts in sources}
    holders = {parts[:-1] for parts in relative}
    for parts in relative:
        file = PurePosixPath(parts[-1]).stem
        inner = next((parts[:count] for count in range(1, len(parts)) if parts[:count] in holders), (file,))
        top = inner[0]
        if top in _NO_MODULES or top in sys.stdlib_module_names or is_test_name("/".join(parts)):
            continue
        if all(part.isidentifier() for part in inner) and inner != ("__init__",):
            yield ".".join(inner)
    if () in holders and folder and all(part.isidentifier() for part in start.parts):
        yield ".".join(start.parts)  # imported from the repository's root
        if ("__init__.py",) in relative:
            yield start.name
