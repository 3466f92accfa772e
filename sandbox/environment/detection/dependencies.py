"""The names that a package declares for itself, and the names and folders that it declares to depend on."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from packaging.utils import canonicalize_name

from sandbox.environment.detection.python_files import setup_keywords
from sandbox.environment.detection.python_project import NAME
from sandbox.environment.detection.requirements import includes
from sandbox.environment.detection.sources import Sources, join, resolve, strings, table

_UNREAD = {
    "pom.xml": "java",
    "build.gradle": "java",
    "build.gradle.kts": "java",
    "Gemfile": "ruby",
    "composer.json": "php",
}
_REQUIREMENTS = re.compile(r"^(?:(?=[\w.-]*?req)[\w.-]+|(?:requirements|reqs)/[\w.-]+)\.(?:txt|in)")
_NODE_KINDS = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
_CARGO_KINDS = ("dependencies", "dev-dependencies", "build-dependencies")
_BESIDE = re.compile(r"(?<![\w.])\.{1,2}/[\w./-]+")
_GO_MODULE = re.compile(r"(?m)^[ \t]*module[ \t]+(\S+)")


@dataclass
class DeclaredLinks:
    """The names of a package, and what it depends on. Each name has its ecosystem before it.

    `folders` are those of the repository that it names by path. `unread` are ecosystems whose declarations
    are not read. `is_broken` is true if a declaration could not be read.
    """

    names: set[str] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    unread: frozenset[str] = frozenset()
    is_broken: bool = False

    @classmethod
    def read(cls, sources: Sources, folder: str, paths: Iterable[str]) -> "DeclaredLinks":
        """Read the declarations in a folder. `paths` are all files of the package."""
        known = len(sources.faults)
        reader = _LinkReader(sources, folder)
        below = [path.removeprefix(join(folder, "")) for path in paths]
        for name, read in reader.readers.items():
            if join(folder, name) in sources:
                read()
        for name in filter(_REQUIREMENTS.fullmatch, below):
            reader.requirements(join(folder, name))
        links = reader.links
        links.unread = frozenset(_UNREAD[name] for name in below if name in _UNREAD)
        links.is_broken = len(sources.faults) > known
        return links


class _LinkReader:
    def __init__(self, sources: Sources, folder: str) -> None:
        self._sources = sources
        self._folder = folder
        self.links = DeclaredLinks()
        self.readers = {
            "pyproject.toml": self._pyproject,
            "setup.cfg": self._setup_cfg,
            "setup.py": self._setup_py,
            "package.json": self._package_json,
            "go.mod": self._go_mod,
            "Cargo.toml": self._cargo,
        }

    def requirements(self, path: str) -> None:
        for each in (path, *includes(self._sources, path)):
            for line in dict.fromkeys(self._sources.text(each).splitlines()):
                self._requirement(line)

    def _pyproject(self) -> None:
        data = self._sources.toml(join(self._folder, "pyproject.toml"))
        project, tools = table(data, "project"), table(data, "tool")
        poetry, uv = table(tools, "poetry"), table(tools, "uv")
        self._name("python", project.get("name"))
        self._name("python", poetry.get("name"))
        groups = (
            *table(project, "optional-dependencies").values(),
            *table(data, "dependency-groups").values(),
            *table(tools, "pdm", "dev-dependencies").values(),
        )
        for group in (project.get("dependencies"), uv.get("dev-dependencies"), *groups):
            for line in strings(group):
                self._requirement(line)
        tables = [table(group, "dependencies") for group in table(poetry, "group").values()]
        tables += [table(poetry, "dependencies"), table(poetry, "dev-dependencies"), table(uv, "sources")]
        for entries in tables:
            self._entries("python", entries)

    def _setup_cfg(self) -> None:
        sections = self._sources.ini(join(self._folder, "setup.cfg"))
        options = sections.get("options", {})
        self._name("python", sections.get("metadata", {}).get("name"))
        texts = [options.get("install_requires", ""), options.get("tests_require", "")]
        for text in (*texts, *sections.get("options.extras_require", {}).values()):
            for line in text.splitlines():
                self._requirement(line)

    def _setup_py(self) -> None:
        tree = self._sources.python(join(self._folder, "setup.py"))
        for keyword in setup_keywords(tree) if tree else ():
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                self._name("python", keyword.value.value)
            elif keyword.arg in ("install_requires", "extras_require", "tests_require"):
                lists = (node for node in ast.walk(keyword.value) if isinstance(node, ast.List | ast.Tuple))
                for each in (each for node in lists for each in node.elts):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        self._requirement(each.value)

    def _package_json(self) -> None:
        package = self._sources.json(join(self._folder, "package.json"))
        self._name("node", package.get("name"))
        for kind in _NODE_KINDS:
            for name, value in table(package, kind).items():
                self._need("node", name)
                scheme, _, path = value.partition(":") if isinstance(value, str) else ("", "", "")
                if scheme in ("file", "link", "portal", "workspace"):
                    self._path(path)

    def _go_mod(self) -> None:
        text = re.sub(r"//.*", "", self._sources.text(join(self._folder, "go.mod")))
        for name in _GO_MODULE.findall(text):
            self._name("go", name)
        for word in _GO_MODULE.sub("", text).split():
            if word.startswith("."):
                self._path(word)
            else:
                self._need("go", word)

    def _cargo(self) -> None:
        manifest = self._sources.toml(join(self._folder, "Cargo.toml"))
        self._name("rust", table(manifest, "package").get("name"))
        for part in (manifest, *table(manifest, "target").values()):
            for kind in _CARGO_KINDS:
                self._entries("rust", table(part, kind))

    def _entries(self, ecosystem: str, entries: dict[str, Any]) -> None:
        """Read a table of dependencies by name. A value may hold a path, and several in a list."""
        for name, value in entries.items():
            for each in value if isinstance(value, list) else [value]:
                self._need(ecosystem, table(each).get("package", name))
                self._path(table(each).get("path"))

    def _requirement(self, line: str) -> None:
        """Read a line of requirements: a name, a path, or a name with the URL of a path."""
        line = re.sub(r"^(?:-e|--editable)[ =]*", "", line.strip())
        word = re.split(r"[\s\[;#]", line, maxsplit=1)[0].removeprefix("file:")
        if word.startswith(".") or ("/" in word and "://" not in word):
            self._path(word)
        elif name := NAME.match(word):
            self._need("python", name[0])
        for path in _BESIDE.findall(line.partition("@")[2]):
            self._path(path)

    def _name(self, ecosystem: str, name: object) -> None:
        if isinstance(name, str) and name:
            self.links.names.add(_normalised(ecosystem, name))

    def _need(self, ecosystem: str, name: object) -> None:
        if isinstance(name, str) and name:
            self.links.needs.add(_normalised(ecosystem, name))

    def _path(self, path: object) -> None:
        """Add a path from the package's folder, or from the root if it does not say from where."""
        if not isinstance(path, str) or path.startswith("/") or not path.strip("^~*"):
            return
        for start in (self._folder,) if path.startswith(".") else (self._folder, ""):
            if (folder := resolve(start, path)) is not None:
                self.links.folders.add(folder)


def _normalised(ecosystem: str, name: str) -> str:
    if ecosystem == "python":
        name = canonicalize_name(name)
    if ecosystem == "rust":
        name = name.replace("_", "-")
    return f"{ecosystem}:{name}"
