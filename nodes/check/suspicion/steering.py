"""Rules for the files by which tests are found, run and reported."""

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from nodes.check.suites.build_files import BUILD_FILES
from nodes.check.suites.config import CONFIG
from nodes.check.suites.pytest_config import PytestOptions, is_config, options_table
from nodes.check.suites.suite import Suite
from nodes.check.suspicion.installation import builds_otherwise, registers_plugin
from nodes.check.suspicion.sight import Sight
from nodes.check.suspicion.versions import FileVersions
from nodes.check.suspicion.walk import Function, Walked

_RUNNERS = {"pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup"}
_PLUGIN = re.compile(r"pytest_\w+$|xdist$")
_STARTUP = {"sitecustomize", "usercustomize"}
_COMPILED = {".so", ".pyd", ".pyc", ".pyo", ".dylib", ".dll"}
_ARCHIVES = {".zip", ".egg", ".whl", ".pyz"}
_DEPENDENCIES = {"node_modules", "site-packages", "__pypackages__"}
_DATA = {"test", "tests", "testdata", "data", "fixtures", "docs", "examples"}
_METADATA = (".dist-info", ".egg-info")
_VARIABLES = re.compile(
    r"\b(PYTHONPATH|PYTHONSTARTUP|PYTEST_ADDOPTS|PYTEST_PLUGINS|PYTEST_DISABLE\w{0,40})\b"
)
_SETTINGS = re.compile(
    r"^(?:makefile|gnumakefile|justfile|dockerfile|\.env\w*|.+\.(?:mk|toml|cfg|ini|sh|bash|env)|package\.json)$",
    re.IGNORECASE,
)
_DEFINITIONS = {
    **BUILD_FILES,
    **dict.fromkeys(("jest", "vitest", "mocha"), ("package.json",)),
    "tox": ("tox.ini", "pyproject.toml", "setup.cfg"),
    "just": ("justfile", "Justfile", ".justfile"),
    "rake": ("Rakefile",),
}
_TOOL_CONFIGS = re.compile(
    r"^(?:(?:jest|vitest|vite|karma|ava|babel|playwright)\.config\.\w+|\.mocharc\.?\w*|\.babelrc|\.rspec"
    r"|phpunit\.xml(?:\.dist)?|\.npmrc|.+\.mk)$"
)
_SETUP = re.compile(
    r"^(?:(?:jest|vitest|mocha|test)[.-]?(?:setup|env)\.\w+"
    r"|(?:global)?-?set-?up-?(?:tests?|jest|vitest)?\.[cm]?[jt]sx?|setup(?:Tests?|Files)\w*\.\w+)",
    re.IGNORECASE,
)
_PACKAGE_KEYS = ("scripts", "jest", "mocha", "ava", "vitest", "c8", "nyc")


@dataclass(frozen=True)
class SteeringRules:
    """The rules for one repository. `new_modules` are import names that the base does not have yet."""

    suite: Suite
    base_files: Set[str]
    head_files: Set[str]
    roots: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, suite: Suite, base_files: Set[str], head_files: Set[str]) -> "SteeringRules":
        """Collect the folders that are on the import path while the tests run."""
        env = [word.partition("=")[2] for word in suite.env if word.startswith("PYTHONPATH=")]
        named = [folder for value in env for folder in value.split(":")]
        roots = {*("", "src"), *map(_folder, (*suite.options.pythonpath, *suite.options.testpaths, *named))}
        # pytest puts the first folder that is no package on the path, for every test file.
        usual = PytestOptions()
        for path in head_files:
            above = path.rpartition("/")[0]
            if usual.is_test(path) and f"{above}/__init__.py".lstrip("/") not in head_files:
                roots.add(above)
        return cls(suite, base_files, head_files, frozenset(roots))

    def sights(self, file: FileVersions) -> Iterator[Sight]:
        """Yield what the change of one file does to the run of the tests."""
        for line, text in self._file(file):
            yield Sight(f"steers:{file.path}:{text}", line, text)

    def _file(self, file: FileVersions) -> Iterator[tuple[int, str]]:
        path = PurePosixPath(file.path)
        stem = path.name.partition(".")[0]
        line = file.first_change
        if path.name == "conftest.py":
            yield line, "pytest loads this file by itself, so it can alter how tests run and report."
        if file.path == CONFIG or file.path in self._definitions():
            if path.name != "package.json" or _scripts(file.before) != _scripts(file.after):
                yield (
                    line,
                    "It defines how the tests are started, so a green check may not mean that they ran.",
                )
        elif not self.suite.is_pytest and self._configures(file.path):
            yield line, "It configures the test runner, so tests may be left out."
        elif self.suite.runner and (self.suite.runner.steers(file.path) or _SETUP.fullmatch(path.name)):
            yield line, "The test runner may load this file before the tests, so it can alter how they run."
        if is_config(path.name) and options_table(path.name, file.before) != options_table(
            path.name, file.after
        ):
            yield _pytest_line(file), "It configures pytest, which can leave tests out or load plugins."
        if path.suffix == ".pth":
            yield line, "Python runs the import lines of .pth files at its start, before any test."
        if any(part.endswith(_METADATA) for part in path.parts):
            yield line, "It is metadata of a package, by which pytest finds and loads plugins."
        elif registers_plugin(file):
            yield _line_of(file, "pytest11"), "It registers a pytest plugin, which can alter how tests run."
        elif builds_otherwise(file):
            yield line, "The environment's build runs it or what it names, which can alter how tests run."
        if stem in _STARTUP or any(part in _STARTUP for part in path.parts):
            yield line, "Python imports this module by itself at its start, before any test."
        elif module := self._shadows(file.path):
            yield line, f"It is imported in place of the module {module} that pytest or Python use."
        if path.suffix in _COMPILED:
            yield 1, "It is a compiled module, which can be imported and cannot be read."
        if path.suffix in _ARCHIVES and _DATA.isdisjoint(path.parts):
            yield 1, "It is an archive, from which Python can import code that nobody can read."
        if not _DEPENDENCIES.isdisjoint(path.parts):
            yield line, "It belongs to a dependency, which tests may use to judge results."
        if _SETTINGS.match(path.name):
            for number, added in file.added_lines():
                if variable := _VARIABLES.search(added[:1000]):
                    yield number, f"It sets {variable[1]}, which alters what the tests import or load."

    def _definitions(self) -> set[str]:
        """Return the files that define the suite's own command, if it is not pytest."""
        if self.suite.is_pytest:
            return set()
        files: set[str] = set()
        for word in (part for each in self.suite.command for part in re.split(r"[\s;&|]+", each)):
            name = PurePosixPath(word).name
            files.update(_DEFINITIONS.get(name, ()))
            if (path := _folder(word)) in self.base_files or path in self.head_files:
                files.add(path)
        return files

    def _configures(self, path: str) -> bool:
        runner = self.suite.runner
        defines = runner is not None and runner.defines(path) and _DEPENDENCIES.isdisjoint(path.split("/"))
        return defines or bool(_TOOL_CONFIGS.match(PurePosixPath(path).name))

    def _shadows(self, path: str) -> str:
        """Return the module that a new file hides from those who import it, empty if there is none."""
        for root in self.roots:
            if root and not path.startswith(f"{root}/"):
                continue
            inside = PurePosixPath(path[len(root) + 1 :] if root else path)
            name = inside.parts[0].partition(".")[0] if len(inside.parts) == 1 else inside.parts[0]
            if not (name in sys.stdlib_module_names or name in _RUNNERS or _PLUGIN.match(name)):
                continue
            place = f"{root}/{name}" if root else name
            module = len(inside.parts) == 1 and inside.suffix in (".py", *_COMPILED)
            package = len(inside.parts) > 1 and f"{place}/__init__.py" in self.head_files
            if (module or package) and not {f"{place}.py", f"{place}/__init__.py"} & self.base_files:
                return name
        return ""


def hooks(nodes: Walked) -> Iterator[Sight]:
    """Yield pytest hooks and plugin lists in a source, at any depth."""
    for node, _ in nodes:
        if isinstance(node, Function):
            marked = any(map(_marks_hook, node.decorator_list))
            if node.name.startswith("pytest_") or marked:
                text = f"{node.name} is a pytest hook, which can alter how tests run and report."
                yield Sight(f"hook:{node.name}:{_body(node)}", node.lineno, text)
        elif (isinstance(node, ast.Name) and node.id == "pytest_plugins") or (
            isinstance(node, ast.Constant) and node.value == "pytest_plugins"
        ):
            text = "pytest_plugins loads plugins, which can alter how tests run and report."
            yield Sight("pytest_plugins", node.lineno, text)


def _body(node: Function) -> str:
    try:
        return ast.unparse(node)[:2000]
    except RecursionError:
        return ""


def _marks_hook(decorator: ast.expr) -> bool:
    names = [each.attr for each in ast.walk(decorator) if isinstance(each, ast.Attribute)]
    names += [each.id for each in ast.walk(decorator) if isinstance(each, ast.Name)]
    return any(name.lower().startswith("hookimpl") for name in names)


def _folder(path: str) -> str:
    plain = str(PurePosixPath(path))
    return "" if plain == "." else plain


def _scripts(data: bytes | None) -> dict[str, Any] | None:
    """Return what package.json says of tests, None if it cannot be read."""
    try:
        package = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return None
    return {key: package.get(key) for key in _PACKAGE_KEYS} if isinstance(package, dict) else None


def _pytest_line(file: FileVersions) -> int:
    """Return the first changed line at or after pytest's own section."""
    changed = [number for number, _ in file.added_lines()]
    start = _line_of(file, "pytest")
    return next((number for number in changed if number >= start), start)


def _line_of(file: FileVersions, word: str) -> int:
    numbered: Iterable[tuple[int, str]] = enumerate(file.new_lines, 1)
    return next((number for number, line in numbered if word in line), file.first_change)
