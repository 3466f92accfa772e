"""The selection of tests that a change can affect, by the imports in the sources."""

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import PurePosixPath

from tools.workspace.recent import Recent

_LONGEST_SOURCE = 500_000
_MOST_KEPT = 100_000
_names = Recent[tuple[str, bytes], tuple[str, ...]](_MOST_KEPT)
_IMPORTERS = {"import_module", "importorskip", "__import__"}


class ImportGraph:
    """The files that each Python file imports.

    `sources` maps the path of every Python file to its text, empty if the change deleted the file. `roots`
    are folders on the import path, besides the repository's root and `src`.

    A module name is resolved to a file on the import path if it is there, else to all files that it fits.
    """

    def __init__(self, sources: Mapping[str, str], roots: Iterable[str]) -> None:
        self._paths = frozenset(sources)
        self._roots = ("", "src", *(root.strip("./") for root in roots))
        self._fitting: dict[str, list[str]] = defaultdict(list)
        for path in sources:
            parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
            for start in range(len(parts)):
                self._fitting[".".join(parts[start:])].append(path)
        self._resolve, self._rootdir = cache(self._find_module), cache(self._find_rootdir)
        self._imports = {path: self._targets(path, text) for path, text in sources.items()}
        self._importers: dict[str, set[str]] = defaultdict(set)
        for path, targets in self._imports.items():
            for target in targets:
                self._importers[target].add(path)

    def imports(self, paths: Iterable[str]) -> set[str]:
        """Return the files `paths` and all that they import, directly or through others."""
        return _closure(paths, self._imports)

    def importers(self, paths: Iterable[str]) -> set[str]:
        """Return the files `paths` and all that import them, directly or through others."""
        return _closure(paths, self._importers)

    def direct_importers(self, path: str) -> set[str]:
        """Return the files that import the file at `path` themselves."""
        return set(self._importers.get(path, ()))

    def _targets(self, path: str, text: str) -> set[str]:
        """Return the files that importing `path` executes, for a test with the conftest.py files above."""
        folder, _, file = path.rpartition("/")
        rootdir = self._rootdir(folder)
        targets = {target for name in _known_names(path, text) for target in self._resolve(name, rootdir)}
        if file.startswith("test") or path.endswith(("_test.py", "conftest.py")):
            targets |= {str(above / "conftest.py") for above in PurePosixPath(path).parents}
        return (targets & self._paths) - {path}

    def _find_module(self, name: str, rootdir: str) -> Collection[str]:
        """Return a module's file and its packages' `__init__.py` files."""
        parts = name.split(".")
        prefixes = [parts[:count] for count in range(1, len(parts) + 1)]
        for root in (*self._roots, rootdir):
            files = {path for prefix in prefixes for path in _files(root, prefix) if path in self._paths}
            if any(path in files for path in _files(root, parts)):
                return files
        return self._fitting.get(name, ())

    def _find_rootdir(self, folder: str) -> str:
        """Return the folder that pytest and Python put on the path for the files of a folder."""
        while folder and f"{folder}/__init__.py" in self._paths:  # the first that is not a package
            folder = folder.rpartition("/")[0]
        return folder


def _known_names(path: str, text: str) -> tuple[str, ...]:
    """Return `imported_names`, and keep them, because all snapshots have most files in common."""
    key = (path, sha256(text.encode("utf-8", "surrogatepass")).digest())
    if (known := _names.get(key)) is None:
        known = tuple(imported_names(path, text))
        _names.put(key, known)
    return known


def _closure(starts: Iterable[str], edges: Mapping[str, Collection[str]]) -> set[str]:
    reached = set(starts)
    ahead = list(reached)
    while ahead:
        new = set(edges.get(ahead.pop(), ())) - reached
        reached |= new
        ahead += new
    return reached


def _files(root: str, parts: list[str]) -> tuple[str, str]:
    stem = "/".join([root, *parts] if root else parts)
    return f"{stem}.py", f"{stem}/__init__.py"


def imported_names(path: str, text: str) -> Iterator[str]:
    """Yield all module names that a source may import, relative ones from the repository's root."""
    if len(text) > _LONGEST_SOURCE:
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # deep nesting raises the last two
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                if module := _absolute(path, node):
                    yield module
                yield from (".".join(filter(None, (module, alias.name))) for alias in node.names)
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)) if called in _IMPORTERS:
                yield from _strings(node)
            case ast.Assign() if any(getattr(each, "id", "") == "pytest_plugins" for each in node.targets):
                yield from _strings(node)


def _absolute(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folder = PurePosixPath(path).parts[: -node.level]
    return ".".join((*folder, *((node.module,) if node.module else ())))


def _strings(node: ast.AST) -> Iterator[str]:
    constants = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return (value for value in constants if isinstance(value, str))
