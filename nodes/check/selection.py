"""Which test files a change can reach, by the imports that stand in the source."""

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

_LARGEST = 1_000_000
_BY_NAME = {"import_module", "importorskip", "__import__"}


def affected(
    sources: Mapping[str, str], changed: Collection[str], tests: Collection[str], roots: Iterable[str] = ()
) -> list[str]:
    """The test files that are changed or import, also transitively, a changed file; sorted.

    `sources` holds the text of every Python file by path, files that the change deleted with an empty text.
    `roots` are folders on the import path beside the repository's own and `src`.
    """
    graph = _Graph(sources, roots)
    importers: dict[str, set[str]] = defaultdict(set)
    for path, text in sources.items():
        for target in graph.imports(path, text):
            importers[target].add(path)
    reached, ahead = set(changed), list(changed)
    while ahead:
        for importer in importers[ahead.pop()] - reached:
            reached.add(importer)
            ahead.append(importer)
    return sorted(reached & set(tests))


class _Graph:
    """Resolves module names to files: where the import path surely finds them, else wherever they fit."""

    def __init__(self, paths: Collection[str], roots: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._roots = ("", "src", *(root.strip("./") for root in roots))
        self._fitting: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
            for start in range(len(parts)):
                self._fitting[".".join(parts[start:])].append(path)

    def imports(self, path: str, text: str) -> set[str]:
        """The files that importing `path` executes; for a test also the conftest.py files above it."""
        found = {target for name in _names(path, text) for target in self._resolve(name, path)}
        folders = PurePosixPath(path).parents
        if PurePosixPath(path).name.startswith("test") or path.endswith(("_test.py", "conftest.py")):
            found |= {str(folder / "conftest.py") for folder in folders}
        return (found & self._paths) - {path}

    def _resolve(self, name: str, importer: str) -> set[str]:
        """A module's file and its packages' `__init__.py` files."""
        parts = name.split(".")
        prefixes = [parts[:count] for count in range(1, len(parts) + 1)]
        for root in (*self._roots, self._rootdir(importer)):
            found = {path for prefix in prefixes for path in _files(root, prefix) if path in self._paths}
            if any(path in found for path in _files(root, parts)):
                return found
        return set(self._fitting.get(name, ()))

    def _rootdir(self, importer: str) -> str:
        """The folder that pytest and Python put on the path for a file: the first without `__init__.py`."""
        for folder in PurePosixPath(importer).parents:
            if str(folder / "__init__.py") not in self._paths:
                return "" if str(folder) == "." else str(folder)
        return ""


def _files(root: str, parts: list[str]) -> tuple[str, str]:
    stem = "/".join([root, *parts] if root else parts)
    return f"{stem}.py", f"{stem}/__init__.py"


def _names(path: str, text: str) -> Iterator[str]:
    """Every module name that a source may import; relative ones as paths from the repository's root."""
    if len(text) > _LARGEST:
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(path, node)
            if module:
                yield module
            yield from (".".join(filter(None, (module, alias.name))) for alias in node.names)
        elif (isinstance(node, ast.Call) and _called(node) in _BY_NAME) or _is_plugin_list(node):
            yield from (
                each.value
                for each in ast.walk(node)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def _absolute(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folder = PurePosixPath(path).parts[: -node.level]
    return ".".join((*folder, *((node.module,) if node.module else ())))


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_plugin_list(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "pytest_plugins" for target in node.targets
    )
