"""Python projects: from lock files, requirement files and metadata to uv's commands."""

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sandbox.environment.interpreter import PythonChoice, choose_python, poetry_specifier, python_version_file
from sandbox.environment.python_files import (
    RunnerDependencies,
    SetupMetadata,
    runner_dependencies,
    setup_metadata,
)
from sandbox.environment.recipe import VENV, Ingredients, Toolset
from sandbox.environment.requirements import includes, is_for_tests, requirement_files
from sandbox.environment.sources import Sources, folders_above, join, strings, table

LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
"""Lock files, the preferred ones first."""

FILES = (*LOCKS, "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "requirements.in")
"""Files that make a folder a Python project."""

_GROUPS = ("dev", "test", "tests", "testing")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
# Only these tables of pyproject.toml say how the project is built and what it needs.
_TABLES = ("build-system", "project", "dependency-groups")
_TOOLS = (
    "flit",
    "hatch",
    "maturin",
    "meson-python",
    "pdm",
    "poetry",
    "scikit-build",
    "setuptools",
    "setuptools_scm",
    "uv",
)
_COMPILED = (".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".pyx", ".pxd", ".rs", ".f90")
_COMPILED_FILES = ("meson.build", "CMakeLists.txt", "Cargo.toml", "Cargo.lock", "build.rs")
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
_SCM = (
    "setuptools-scm",
    "setuptools_scm",
    "hatch-vcs",
    "pbr",
    "poetry-dynamic-versioning",
    "pdm-backend",
    "flit-scm",
)
# Without tags any version is a guess. A high one meets the lower bounds that plugins put on the project.
_UNKNOWN_VERSION = "9999.0"
_MAX_COMPILED = 2000
_SYNC = "uv sync --frozen"


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


def python_ingredients(
    sources: Sources, folder: str, toolset: Toolset, exact: str = "", version: str = ""
) -> Ingredients | None:
    """Return how to install a Python project with what its tests need. None when there is nothing to install.

    `exact` is the Python version that `.autocode.toml` states. `version` is the project's own version, for projects
    that take it from git, which the sandbox does not have.
    """
    project = PythonProject.read(sources, folder)
    installs, reason = _installs(project)
    if not installs or (choice := interpreter_for(project, toolset, exact)) is None:
        return None
    # uv would replace the environment where `.python-version` or the lock ask for another interpreter.
    installs = tuple(line.replace(_SYNC, f"{_SYNC} --python {choice.version}") for line in installs)
    commands = (*venv_commands(choice), *installs, "uv pip install pytest")
    return Ingredients(
        commands=commands,
        inputs=_inputs(project),
        tools=("uv",),
        files=_generated_files(project),
        build_variables=_versions(project, version),
        python=choice.version,
        interpreter=choice.interpreter,
        reasons=(f"Python {choice.version} ({choice.reason})", reason),
    )


def interpreter_for(project: PythonProject, toolset: Toolset, exact: str = "") -> PythonChoice | None:
    """Choose the project's interpreter. A version that the machine lacks becomes a fault."""
    requires, origin = project.requires_python()
    sources = project.sources
    preferred = next(
        (
            found
            for above in folders_above(join(project.folder, "x"))
            if (found := python_version_file(sources.text(join(above, ".python-version"))))
        ),
        "",
    )
    choice = choose_python(toolset, exact, preferred, requires, origin)
    present = ", ".join(python.version for python in toolset.pythons) or "none"
    if choice is None:
        sources.fault(
            "python", f"No known Python satisfies {requires} ({origin}). The machine has {present}."
        )
    elif not choice.interpreter:
        message = (
            f"Python {choice.version} is missing ({choice.reason}). uv tries to fetch it. Present: {present}."
        )
        sources.fault("python", message, False)
    return choice


def venv_commands(choice: PythonChoice, seed: bool = False) -> tuple[str, ...]:
    """Return the commands that make an empty virtual environment, with pip if `seed` is set."""
    fetch = () if choice.interpreter else (f"uv python install {choice.version}",)
    return (*fetch, f"uv venv {'--seed ' if seed else ''}--python {choice.version} {VENV}")


def _installs(project: PythonProject) -> tuple[tuple[str, ...], str]:
    """Return the commands that install, and the reason for them."""
    lock = project.lock
    name = lock.rpartition("/")[2]
    if name == "uv.lock":
        return (_uv_sync(project, lock),), f"Locked in {lock}"
    if name == "poetry.lock":
        return (_poetry(project),), f"Locked in {lock}"
    if name == "pdm.lock":
        groups = dict.fromkeys((*project.pdm_groups, *project.groups, *project.extras))
        options = "".join(f" --group {group}" for group in groups)
        return (f"uv tool run pdm sync{options}",), f"Locked in {lock}"
    own = _own(project)
    if name == "Pipfile.lock":
        export = "uv tool run pipenv requirements --dev > /tmp/requirements.txt"
        return (export, f"uv pip install -r /tmp/requirements.txt{own}"), f"Locked in {lock}"
    if name == "pylock.toml":
        return (
            "uv pip install -r pylock.toml",
            *((f"uv pip install{own}",) if own else ()),
        ), f"Locked in {lock}"
    return _unlocked(project, own)


def _unlocked(project: PythonProject, own: str) -> tuple[tuple[str, ...], str]:
    words = [f" -r {shlex.quote(_below(project, path))}" for path in project.requirements]
    origins = list(project.requirements)
    runner = project.dynamic_tests
    words += [f" -r {shlex.quote(path)}" for path in runner.files]
    if runner:
        origins.append(runner.path)
    packages = [*project.setup.tests_require, *runner.packages]
    words.append(own)
    words += [f" {shlex.quote(package)}" for package in packages]
    line = "".join(words)
    if own:
        origins.insert(0, "the project's metadata")
    return ((f"uv pip install{line}",) if line else ()), f"From {', '.join(origins)}"


def _own(project: PythonProject) -> str:
    """Return the arguments that install the project itself, its extras and its groups."""
    runner = project.dynamic_tests
    known = {*table(project.project, "optional-dependencies"), *project.setup.extras}
    extras = tuple(dict.fromkeys((*project.extras, *(extra for extra in runner.extras if extra in known))))
    groups = (
        *project.groups,
        *(g for g in runner.groups if g in table(project.pyproject, "dependency-groups")),
    )
    options = "".join(f" --group {group}" for group in dict.fromkeys(groups))
    if project.is_installable:
        target = f".[{','.join(extras)}]" if extras else "."
        return f" -e {shlex.quote(target)}{options}"
    # A project without a build system is an application: only its dependencies are installed.
    if strings(project.project.get("dependencies")) or extras:
        return f" -r pyproject.toml{''.join(f' --extra {extra}' for extra in extras)}{options}"
    return options


def _uv_sync(project: PythonProject, lock: str) -> str:
    words = [_SYNC]
    name = project.project.get("name")
    if lock != join(project.folder, "uv.lock") and isinstance(name, str) and _NAME.fullmatch(name):
        words.append(f"--package {name}")
    words += [f"--extra {extra}" for extra in project.extras]
    words += [f"--group {group}" for group in project.groups]
    return " ".join(words)


def _poetry(project: PythonProject) -> str:
    words = ["uv tool run poetry install --no-interaction --no-ansi"]
    words += [f"--extras {extra}" for extra in project.extras]
    if project.poetry_groups:
        words.append(f"--with {','.join(project.poetry_groups)}")
    if not project.is_installable and project.poetry.get("package-mode") is not False:
        words.append("--no-root")
    return " ".join(words)


def _below(project: PythonProject, path: str) -> str:
    return path.removeprefix(join(project.folder, ""))


def _wanted(names: list[str]) -> tuple[str, ...]:
    """Return the names for tests and development, in the repository's spelling."""
    found = {name: None for name in names if isinstance(name, str) and _NAME.fullmatch(name)}
    return tuple(name for name in found if re.sub(r"[-_.]+", "-", name).lower() in _GROUPS)


def _inputs(project: PythonProject) -> dict[str, str]:
    """Return the files that the environment depends on, reduced to what matters for it."""
    sources, folder = project.sources, project.folder
    found: dict[str, str] = {}
    if project.pyproject:
        tools = table(project.pyproject, "tool")
        kept = {name: project.pyproject.get(name) for name in _TABLES} | {
            name: tools.get(name) for name in _TOOLS
        }
        try:
            found[join(folder, "pyproject.toml")] = json.dumps(kept, sort_keys=True, default=str)
        except (RecursionError, ValueError):
            found[join(folder, "pyproject.toml")] = sources.text(join(folder, "pyproject.toml"))
    for name in ("setup.py", "setup.cfg"):
        if name in project and project.is_installable:
            found[join(folder, name)] = sources.text(join(folder, name))
    if lock := project.lock:
        found[lock] = sources.lock(lock)
        return found | _compiled_sources(project)
    runner = project.dynamic_tests
    files = [*project.requirements, *(join(folder, path) for path in runner.files)]
    for path in [*files, *(name for file in files for name in includes(sources, file))]:
        found[path] = sources.text(path)
    if runner:
        found.setdefault(runner.path, "")  # its dependencies already stand in the commands
    return found | _compiled_sources(project)


def _compiled_sources(project: PythonProject) -> dict[str, str]:
    """Return the sources of compiled extensions: a change of one needs another build."""
    if not project.is_compiled:
        return {}
    below = join(project.folder, "")
    paths = (
        path
        for path in sorted(project.sources.paths)
        if path.startswith(below) and (path.endswith(_COMPILED) or path.rpartition("/")[2] in _COMPILED_FILES)
    )
    return {path: project.sources.lock(path) for path, _ in zip(paths, range(_MAX_COMPILED), strict=False)}


def _versions(project: PythonProject, version: str) -> tuple[tuple[str, str], ...]:
    """Return the variables that replace git, which the sandbox does not have, as the source of the version."""
    build = table(project.pyproject, "build-system")
    words = " ".join(strings(build.get("requires"))).lower()
    script = project.sources.text(join(project.folder, "setup.py")) if "setup.py" in project else ""
    if not any(name in words for name in _SCM) and not re.search(r"use_scm_version|\bpbr\b", script):
        return ()
    names = (
        "PBR_VERSION",
        "PDM_BUILD_SCM_VERSION",
        "POETRY_DYNAMIC_VERSIONING_BYPASS",
        "SETUPTOOLS_SCM_PRETEND_VERSION",
    )
    return tuple((name, version or _UNKNOWN_VERSION) for name in names)


def _generated_files(project: PythonProject) -> tuple[str, ...]:
    """Return Python files that git ignores by name and the snapshot lacks, such as a generated `_version.py`."""
    ignored = project.sources.text(join(project.folder, ".gitignore"))
    lines = (line.strip().lstrip("/") for line in ignored.splitlines())
    names = (
        line for line in lines if re.fullmatch(r"[\w./-]+\.py", line) and "/" in line and ".." not in line
    )
    return tuple(path for name in names if (path := join(project.folder, name)) not in project.sources)[:20]
