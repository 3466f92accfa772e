"""Python projects: lock files, requirement files, metadata, extras and groups."""

import re
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sandbox.environment.detection.interpreter import poetry_specifier
from sandbox.environment.detection.python_files import (
    RunnerDependencies,
    SetupMetadata,
    runner_dependencies,
    setup_metadata,
)
from sandbox.environment.detection.requirements import is_for_tests, requirement_files
from sandbox.environment.detection.sources import Sources, folders_above, join, strings, table

LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
"""Lock files, the preferred ones first."""

FILES = (*LOCKS, "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "requirements.in")
"""Files that make a folder a Python project."""

_GROUPS = ("dev", "test", "tests", "testing")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
"""A valid name of a package, an extra or a group."""

_COMPILING_BACKENDS = (
    "mesonpy",
    "scikit_build_core",
    "maturin",
    "cython",
    "cffi",
    "pybind11",
    "nanobind",
    "mypyc",
)


@dataclass(frozen=True)
class PythonProject:
    """The declarations of one folder."""

    sources: Sources
    folder: str
    pyproject: dict[str, Any]
    setup: SetupMetadata
    requirements: tuple[str, ...]

    @classmethod
    def read(cls, sources: Sources, folder: str) -> "PythonProject":
        """Read what a folder declares."""
        path = join(folder, "pyproject.toml")
        return cls(
            sources=sources,
            folder=folder,
            pyproject=sources.toml(path) if path in sources else {},
            setup=setup_metadata(sources, folder),
            requirements=requirement_files(sources, folder),
        )

    def __contains__(self, name: str) -> bool:
        return join(self.folder, name) in self.sources

    @property
    def project(self) -> dict[str, Any]:
        return table(self.pyproject, "project")

    @property
    def poetry(self) -> dict[str, Any]:
        return table(self.pyproject, "tool", "poetry")

    @property
    def lock(self) -> str:
        """Return the path of the lock file to use. A uv workspace keeps its lock in the folder above."""
        for name in LOCKS:
            if name in self and (name != "uv.lock" or self.project):
                return join(self.folder, name)
        for above in folders_above(join(self.folder, "x")):
            workspace = table(self.sources.toml(join(above, "pyproject.toml")), "tool", "uv").get("workspace")
            if self.project and workspace is not None and join(above, "uv.lock") in self.sources:
                return join(above, "uv.lock")
        return ""

    @property
    def is_installable(self) -> bool:
        """Return whether the project itself can be installed, not only its dependencies."""
        if (
            self.poetry.get("package-mode") is False
            or table(self.pyproject, "tool", "uv").get("package") is False
        ):
            return False
        if "setup.py" in self or self.pyproject.get("build-system"):
            return True
        sections = self.sources.ini(join(self.folder, "setup.cfg")) if "setup.cfg" in self else {}
        return "metadata" in sections or "options" in sections

    @property
    def extras(self) -> tuple[str, ...]:
        names = [
            *table(self.project, "optional-dependencies"),
            *table(self.poetry, "extras"),
            *self.setup.extras,
        ]
        return _wanted(names)

    @property
    def groups(self) -> tuple[str, ...]:
        return _wanted([*table(self.pyproject, "dependency-groups")])

    @property
    def poetry_groups(self) -> tuple[str, ...]:
        names = [*table(self.poetry, "group"), *table(self.pyproject, "dependency-groups")]
        return _wanted([*names, "dev"] if "dev-dependencies" in self.poetry else names)

    @property
    def pdm_groups(self) -> tuple[str, ...]:
        return _wanted([*table(self.pyproject, "tool", "pdm", "dev-dependencies")])

    @property
    def dynamic_tests(self) -> RunnerDependencies:
        """Return what tox or nox installs, where nothing else names the tests' dependencies."""
        if (
            self.extras
            or self.groups
            or self.setup.tests_require
            or any(map(is_for_tests, self.requirements))
        ):
            return RunnerDependencies()
        return runner_dependencies(self.sources, self.folder)

    @property
    def is_compiled(self) -> bool:
        build = table(self.pyproject, "build-system")
        words = " ".join([*strings(build.get("requires")), str(build.get("build-backend", ""))]).lower()
        return self.setup.has_extensions or any(
            name in words.replace("-", "_") for name in _COMPILING_BACKENDS
        )

    def requires_python(self) -> tuple[str, str]:
        """Return the specifier set for the interpreter and the file that states it."""
        poetry = table(self.poetry, "dependencies").get("python")
        candidates = (
            (self.project.get("requires-python"), "pyproject.toml"),
            (poetry_specifier(poetry) if isinstance(poetry, str) else None, "pyproject.toml"),
            (self.setup.python_requires, "setup.cfg" if "setup.cfg" in self else "setup.py"),
        )
        for text, origin in candidates:
            if not isinstance(text, str) or not text:
                continue
            path = join(self.folder, origin)
            try:
                SpecifierSet(text)
                return text, path
            except InvalidSpecifier:
                message = f"{path}: the Python version {text[:80]!r} is no valid specifier and is ignored."
                self.sources.fault("value", message, False)
        return "", ""


def _wanted(names: list[str]) -> tuple[str, ...]:
    """Return the names for tests and development, in the repository's spelling."""
    found = {name: None for name in names if isinstance(name, str) and NAME.fullmatch(name)}
    return tuple(name for name in found if re.sub(r"[-_.]+", "-", name).lower() in _GROUPS)
