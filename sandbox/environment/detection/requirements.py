"""Requirement files: which ones the tests need, and which files they include."""

import re
from pathlib import PurePosixPath

from sandbox.environment.detection.sources import Sources, join, resolve

_TEST_WORDS = frozenset({"dev", "devel", "develop", "development", "test", "tests", "testing", "pytest"})
_PLAIN_NAMES = frozenset({"requirements", "base", "common", "main", "default", "install", "runtime", "core"})
# These describe another purpose, or an older Python.
_OTHER_WORDS = frozenset(
    [
        "doc",
        "docs",
        "lint",
        "mypy",
        "typing",
        "types",
        "build",
        "release",
        "publish",
        "deploy",
        "prod",
        "production",
        "min",
        "minimum",
        "minimal",
        "lowest",
        "oldest",
        "old",
        "bench",
        "benchmark",
        "benchmarks",
        "conda",
        "windows",
        "macos",
        "gpu",
        "cuda",
        "nightly",
        "upstream",
        "pre",
        "rtd",
        "readthedocs",
        "optional",
    ]
)
_INCLUDE = re.compile(r"^[ \t]*(?:-r|--requirement|-c|--constraint)[ =]*([^\s#]+)", re.MULTILINE)
_MAX_FILES = 50


def requirement_files(sources: Sources, folder: str) -> tuple[str, ...]:
    """Return the requirement files of a folder that hold what its tests need, in a stable order.

    `requirements.txt` comes first. An `.in` file counts only where no compiled `.txt` file lies beside it.
    """
    candidates = {}
    for path in sorted(sources.paths):
        place = _place(path, folder)
        if place and _is_wanted(place):
            stem = path.rpartition(".")[0]
            if stem not in candidates or path.endswith(".txt"):
                candidates[stem] = path
    found = sorted(candidates.values(), key=lambda path: (is_for_tests(path), path))
    included = {name for path in found for name in includes(sources, path)}
    # A file that another one includes would only be read twice.
    return tuple(path for path in found if path not in included)[:_MAX_FILES]


def includes(sources: Sources, path: str) -> tuple[str, ...]:
    """Return the files that a requirement file includes, directly or not, without the file itself."""
    found: dict[str, None] = {}
    waiting = [path]
    while waiting and len(found) < _MAX_FILES:
        current = waiting.pop()
        for name in _INCLUDE.findall(sources.text(current)):
            target = resolve(current.rpartition("/")[0], name)
            if target and target in sources and target != path and target not in found:
                found[target] = None
                waiting.append(target)
    return tuple(found)


def is_for_tests(path: str) -> bool:
    """Return whether a requirement file's name says that it is for tests or development."""
    return bool(_words(path) & _TEST_WORDS)


def _place(path: str, folder: str) -> str:
    """Return the path below the folder, for files that lie where requirement files usually lie."""
    if not path.endswith((".txt", ".in")) or not path.startswith(join(folder, "")):
        return ""
    below = path.removeprefix(join(folder, ""))
    parent, _, name = below.rpartition("/")
    if parent in ("requirements", "reqs"):
        return below
    return below if parent == "" and re.search(r"req(uirement)?s?", name) else ""


def _is_wanted(place: str) -> bool:
    words = _words(place)
    if words & _OTHER_WORDS or any(re.fullmatch(r"(py|python|cp)\d+", word) for word in words):
        return False
    name = PurePosixPath(place).stem
    return bool(words & _TEST_WORDS) or name in _PLAIN_NAMES


def _words(path: str) -> frozenset[str]:
    name = path.rpartition("/")[2].rpartition(".")[0].lower()
    return frozenset(re.split(r"[-_.]+", name))
