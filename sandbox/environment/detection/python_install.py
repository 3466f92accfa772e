"""The commands that install a Python project, and the files that they depend on."""

import json
import re
import shlex

from sandbox.environment.detection.dependencies import DeclaredLinks
from sandbox.environment.detection.interpreter import PythonChoice, choose_python, python_version_file
from sandbox.environment.detection.python_project import NAME, PythonProject
from sandbox.environment.detection.requirements import includes
from sandbox.environment.detection.sources import Sources, folders_above, join, strings, table
from sandbox.environment.recipe import VENV, Ingredients, Toolset

# Only these tables of pyproject.toml say how the project is built and what it needs.
_DECLARATIONS = ("pyproject.toml", "setup.py", "setup.cfg")
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
_COMPILER = ("gcc", "Python.h")
_SYNC = "uv sync --frozen"
# Poetry reads no settings of pip, so uv installs. Where Poetry must lock again, a plugin names it the index.
POETRY = "uv tool run --with poetry-plugin-export --with poetry-plugin-pypi-mirror poetry"
_REQUIREMENTS = "uv pip install -r requirements.txt"
_PYTEST = re.compile(r"pytest\s*(?:(?:>=|~=)\s*[0-9][0-9.]*)?")  # every sandbox has a recent one


def python_ingredients(
    sources: Sources, folder: str, toolset: Toolset, exact: str = "", version: str = ""
) -> Ingredients | None:
    """Return how to install a Python project and what its tests need. None if that is nothing.

    `exact` is the Python version that `.autocode.toml` states. `version` is the project's own version, for
    projects that take it from git, which the sandbox does not have.
    """
    project = PythonProject.read(sources, folder)
    installs, reason = _installs(project)
    is_bare = not installs or (installs == (_REQUIREMENTS,) and _only_pytest(project))
    if is_bare and not exact and not project.requires_python()[0]:
        return None
    if (choice := interpreter_for(project, toolset, exact)) is None:
        return None
    if is_bare and toolset.pythons and choice.interpreter == toolset.pythons[0].path:
        return None
    # uv would replace the environment where `.python-version` or the lock ask for another interpreter.
    installs = tuple(line.replace(_SYNC, f"{_SYNC} --python {choice.version}") for line in installs)
    commands = (*venv_commands(choice), *installs, "uv pip install pytest")
    return Ingredients(
        commands=commands,
        inputs=_inputs(project),
        tools=("uv",),
        packages=toolset.packages_for(_COMPILER) if project.is_compiled else (),
        files=_generated_files(project),
        build_variables=_versions(project, version),
        python=choice.version,
        interpreter=choice.interpreter,
        reasons=(f"Python {choice.version} ({choice.reason})", *filter(None, (reason,))),
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
        return _poetry(project), f"Locked in {lock}"
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
    # uv refuses constraints of the machine, which have no hashes, beside requirements that do.
    texts = (project.sources.text(path) for path in project.requirements)
    program = "UV_CONSTRAINT= uv" if any("--hash=" in text for text in texts) else "uv"
    return ((f"{program} pip install{line}",) if line else ()), f"From {', '.join(origins)}" if line else ""


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
    if lock != join(project.folder, "uv.lock") and isinstance(name, str) and NAME.fullmatch(name):
        words.append(f"--package {name}")
    words += [f"--extra {extra}" for extra in project.extras]
    words += [f"--group {group}" for group in project.groups]
    return " ".join(words)


def _poetry(project: PythonProject) -> tuple[str, ...]:
    """Return the commands that install what Poetry has locked, from the indexes of this machine."""
    words = [f"({POETRY} check --lock --quiet || {POETRY} lock --no-interaction --no-ansi) &&"]
    words.append(f"{POETRY} export --without-hashes --output /tmp/requirements.txt")
    words += [f"--extras {extra}" for extra in project.extras]
    if project.poetry_groups:
        words.append(f"--with {','.join(project.poetry_groups)}")
    own = " -e ." if project.is_installable else ""
    return " ".join(words), f"uv pip install -r /tmp/requirements.txt{own}"


def _only_pytest(project: PythonProject) -> bool:
    """Return whether requirements.txt asks for pytest alone, which the bare sandbox has."""
    text = project.sources.text(join(project.folder, "requirements.txt"))
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return all(_PYTEST.fullmatch(line) for line in lines if line)


def _below(project: PythonProject, path: str) -> str:
    return path.removeprefix(join(project.folder, ""))


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
    return found | _beside(project) | _compiled_sources(project)


def _beside(project: PythonProject) -> dict[str, str]:
    """Return the declarations of the packages that the project installs from folders beside it."""
    sources = project.sources
    folders = DeclaredLinks.read(sources, project.folder, sources.paths).folders
    paths = (join(folder, name) for folder in sorted(folders) for name in _DECLARATIONS)
    return {path: sources.text(path) for path in paths if path in sources}


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
    """Return the variables that stand in for git, which the sandbox does not have, for the version."""
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
    """Return Python files that git ignores by name and the snapshot lacks, such as a `_version.py`."""
    ignored = project.sources.text(join(project.folder, ".gitignore"))
    lines = (line.strip().lstrip("/") for line in ignored.splitlines())
    names = (
        line for line in lines if re.fullmatch(r"[\w./-]+\.py", line) and "/" in line and ".." not in line
    )
    return tuple(path for name in names if (path := join(project.folder, name)) not in project.sources)[:20]
