"""Changes of what an installation of the project runs, fetches or registers.

An environment is built from the change's own declarations. Who writes them could bring a plugin or a start
file into the Python that runs the tests.
"""

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from memory.validation import read_ini, read_toml
from nodes.check.suspicion.versions import MOST_BYTES, FileVersions

_ENTRY_POINTS = {"pyproject.toml", "setup.cfg", "setup.py", "entry_points.txt"}
_GROUP = re.compile(r"^[ \t]*\[[ \t]*pytest11[ \t]*\]", re.MULTILINE)
_REQUIREMENTS = re.compile(r"(?:^|[-_./])(?:requirements?|constraints?)(?:[-_./].{0,200})?\.(?:txt|in)$")
_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*\s*(?:\[[\w\s,.-]*\])?\s*\(?[^@/\\:]*")
_INCLUDE = re.compile(r"(?:-r|--requirement|-c|--constraint)[ =]*[\w./-]+|--hash=\S+|\\")
_PLUGIN = re.compile(r"(?:pytest|flaky|xdist)(?:[-_.]\w|$)", re.IGNORECASE)
_RUNNER = re.compile(r"pytest\s*(?:\[[\w\s,]*\])?\s*(?:[<>=!~;(].*)?")
# What these tables name runs at the build, or says where packages come from.
_BUILD_TABLES = (
    ("build-system",),
    ("tool", "hatch", "build", "hooks"),
    ("tool", "hatch", "build", "targets", "wheel", "hooks"),
    ("tool", "hatch", "metadata", "hooks"),
    ("tool", "pdm", "build"),
    ("tool", "pdm", "source"),
    ("tool", "poetry", "build"),
    ("tool", "poetry", "source"),
    ("tool", "setuptools", "cmdclass"),
    ("tool", "setuptools", "dynamic", "entry-points"),
    ("tool", "uv", "sources"),
    ("tool", "uv", "index"),
    ("tool", "uv", "index-url"),
    ("tool", "uv", "extra-index-url"),
    ("tool", "uv", "find-links"),
)
_DEPENDENCIES = {"dependencies", "optional-dependencies", "dependency-groups", "dev-dependencies", "requires"}
_HARMLESS_KEYWORDS = {
    *("name", "version", "description", "long_description", "long_description_content_type", "author"),
    *("author_email", "maintainer", "maintainer_email", "url", "project_urls", "license", "license_files"),
    *("keywords", "classifiers", "python_requires", "install_requires", "extras_require", "tests_require"),
    *("packages", "py_modules", "package_data", "include_package_data", "platforms", "zip_safe"),
}
_INI_SECTIONS = ("options.entry_points", "global", "build", "build_ext", "build_py", "develop", "install")
_INI_OPTIONS = ("entry_points", "cmdclass", "setup_requires", "dependency_links")


def registers_plugin(file: FileVersions) -> bool:
    """Return whether a change edits the entry points for pytest in a file, whatever its name."""
    if PurePosixPath(file.path).name not in _ENTRY_POINTS:
        return any(_GROUP.match(line) for _, line in file.added_lines())
    before, after = (_plugin_entries(file.path, data) for data in (file.before, file.after))
    return before != after


def builds_otherwise(file: FileVersions) -> bool:
    """Return whether a change edits what the build of an environment runs, or where it fetches from.

    Dependencies that are mere names come from the registry, and are no plugins of pytest.
    """
    name = PurePosixPath(file.path).name
    if file.after is None:
        return False
    before, after = (_text(data) for data in (file.before, file.after))
    if name == "setup.py":
        return _essence(before) != _essence(after)
    if name == "setup.cfg":
        return _ini(before) != _ini(after)
    if name == "pyproject.toml":
        old, new = _toml(before), _toml(after)
        if old is None or new is None:
            return before != after
        if any(_reach(old, names) != _reach(new, names) for names in _BUILD_TABLES):
            return True
        known = {*_requirements(old)}
        return any(map(_is_odd, {*_requirements(new)} - known))
    if _REQUIREMENTS.search(file.path):
        added = dict.fromkeys(line for _, line in file.added_lines())
        lines = (re.sub(r"(?:^|\s)#.*", "", line).strip() for line in added)
        return any(_is_odd(line) for line in lines if line and not _INCLUDE.fullmatch(line))
    return False


def _is_odd(requirement: str) -> bool:
    """Return whether a requirement is more than a package of the registry, or a plugin of pytest."""
    words = requirement.partition(";")[0].partition(" --hash")[0].strip().removesuffix("\\").strip()
    plugin = _PLUGIN.match(words) and not _RUNNER.fullmatch(words)
    return bool(plugin) or not _PLAIN.fullmatch(words)


def _requirements(table: dict[str, Any]) -> Iterator[str]:
    """Yield the dependencies in pyproject.toml. Those of Poetry are names with a version or a table."""
    ahead: list[tuple[str, object, bool]] = [(key, value, False) for key, value in table.items()]
    while ahead:
        key, value, inside = ahead.pop()
        inside = inside or key in _DEPENDENCIES
        if isinstance(value, dict):
            places = {"git", "url", "path", "source"} & value.keys()
            if inside and places:
                yield f"{key} @ {sorted((place, str(value[place])) for place in places)}"
            elif inside and key not in _DEPENDENCIES:
                yield key
            ahead += [(name, each, inside) for name, each in value.items()]
        elif inside and isinstance(value, list):
            yield from (each for each in value if isinstance(each, str))
            ahead += [(key, each, inside) for each in value if isinstance(each, dict)]
        elif inside and isinstance(value, str) and key != "include-group":
            yield key


def _plugin_entries(path: str, data: bytes | None) -> object:
    """Return the entry points for pytest in one file, comparable."""
    text = _text(data)
    if path.endswith(".toml"):
        table = _toml(text)  # a key can be written with escapes
        return text if table is None else _tables_named(table, "pytest11")
    if "pytest11" not in text:
        return None
    if path.endswith(".py"):
        return text[text.index("pytest11") :][:1000]
    parser = _parsed(text)
    if parser is None:
        return text
    return [
        value if key == "pytest11" else dict(parser[section])
        for section in parser.sections()
        for key, value in parser[section].items()
        if key == "pytest11" or section == "pytest11"
    ]


def _tables_named(table: dict[str, Any], name: str) -> list[object]:
    tables, ahead = list[object](), [table]
    while ahead:
        for key, value in ahead.pop().items():
            if key == name:
                tables.append(value)
            elif isinstance(value, dict):
                ahead.append(value)
    return tables


def _essence(text: str) -> str:
    """Return what setup.py does, without the plain values that only describe the project."""
    if len(text) > MOST_BYTES:
        return text
    try:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _called(node) == "setup":
                node.keywords = [each for each in node.keywords if not _is_description(each)]
        return ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_description(keyword: ast.keyword) -> bool:
    plain = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Load)
    nodes = list(ast.walk(keyword.value))
    if keyword.arg not in _HARMLESS_KEYWORDS or not all(isinstance(node, plain) for node in nodes):
        return False
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return not keyword.arg.endswith(("_requires", "_require")) or not any(map(_is_odd, filter(None, texts)))


def _ini(text: str) -> object:
    parser = _parsed(text)
    if parser is None:
        return text
    options = parser["options"] if parser.has_section("options") else {}
    sections = [dict(parser[name]) for name in _INI_SECTIONS if parser.has_section(name)]
    sections = [{key: value for key, value in each.items() if "_scripts" not in key} for each in sections]
    return [each for each in sections if each], {name: options.get(name) for name in _INI_OPTIONS}


def _parsed(text: str) -> configparser.RawConfigParser | None:
    try:
        return read_ini(text)
    except ValueError:
        return None


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return read_toml(text)
    except ValueError:
        return None


def _reach(table: object, names: tuple[str, ...]) -> object:
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")
