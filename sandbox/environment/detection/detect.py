"""Detection: from the files of a snapshot to the recipes of the packages that a change concerns."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from sandbox.environment.detection import node_project, python_project
from sandbox.environment.detection.declaration import Declaration
from sandbox.environment.detection.node_project import node_ingredients
from sandbox.environment.detection.python_install import interpreter_for, python_ingredients, venv_commands
from sandbox.environment.detection.python_project import PythonProject
from sandbox.environment.detection.sources import Sources, folders_above, join, resolve
from sandbox.environment.detection.toolchains import go_ingredients, rust_ingredients
from sandbox.environment.recipe import Fault, Ingredients, Python, Recipe, Toolset

Language = Literal["python", "node", "go", "rust"]

_FILES: Mapping[Language, tuple[str, ...]] = {
    "python": python_project.FILES,
    "node": node_project.FILES,
    "go": ("go.mod",),
    "rust": ("Cargo.toml",),
}
_LANGUAGE_SUFFIXES: Mapping[Language, tuple[str, ...]] = {
    "python": ("py", "pyi", "pyx", "pxd"),
    "node": ("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "vue", "svelte"),
    "go": ("go",),
    "rust": ("rs",),
}
_SUFFIXES = {suffix: language for language, suffixes in _LANGUAGE_SUFFIXES.items() for suffix in suffixes}
_MAX_PACKAGES = 20
_MAX_SUBMODULES = 100
# A stated image is not looked at, because nothing may be pulled before somebody has approved it.
_STATED_IMAGE = Toolset(
    pythons=(Python("3", "python3"),),
    tools=frozenset(["node", "npm", "go", "cargo", "gcc", "Python.h"]),
    installs_packages=True,
    chooses_image=True,
)
SKIPPED = re.compile(
    r"(^|/)(node_modules|vendor|third_party|fixtures|examples?|docs?|site-packages|testdata)/"
)


def detect(
    files: Mapping[str, str], toolset: Toolset, paths: Iterable[str] = (), version: str = ""
) -> tuple[Recipe, ...]:
    """Return the recipes for the packages that hold `paths`, or for the whole repository without them.

    `files` maps each path of the snapshot to its text and may be lazy. `version` is the latest tag's version,
    for projects that take theirs from git. A declaration in `.autocode.toml` applies to everything below its
    folder. Nothing is executed. Problems are faults of the recipe that they concern.
    """
    recipes = []
    for folder, languages in _packages(files, list(paths))[:_MAX_PACKAGES]:
        sources = Sources(files)
        recipes.append(_recipe(sources, folder, languages, toolset, version, required=bool(paths)))
    return tuple(recipe for recipe in recipes if recipe != Recipe(folder=recipe.folder))


def _packages(files: Mapping[str, str], paths: list[str]) -> list[tuple[str, tuple[Language, ...]]]:
    """Return the folders that declare something, and the languages that count in each."""
    sources = Sources(files)
    found: dict[str, dict[Language, None]] = {}
    for path in paths:
        language = _SUFFIXES.get(path.rpartition(".")[2])
        for folder, names in _above(sources, path, (language,) if language else tuple(_FILES)):
            found.setdefault(folder, {}).update(dict.fromkeys(names))
    if not paths:
        found |= _everywhere(sources)
    return [(folder, tuple(names)) for folder, names in sorted(found.items())]


def _above(
    sources: Sources, path: str, languages: tuple[Language, ...]
) -> Iterable[tuple[str, tuple[Language, ...]]]:
    """Yield the folder that governs a path: the nearest declaration, or else the nearest project."""
    folders = list(folders_above(path))
    for folder in folders:
        if Declaration.read(Sources({p: sources.text(p) for p in _declarations(sources, folder)}), folder):
            yield folder, languages
            return
    for folder in folders:
        if names := tuple(name for name in languages if _has(sources, folder, name)):
            yield folder, names
            return


def _declarations(sources: Sources, folder: str) -> tuple[str, ...]:
    path = join(folder, ".autocode.toml")
    return (path,) if path in sources else ()


def _has(sources: Sources, folder: str, language: Language) -> bool:
    if any(join(folder, name) in sources for name in _FILES[language]):
        return True
    return language == "python" and bool(
        PythonProject.read(Sources(_lazy(sources, folder)), folder).requirements
    )


def _lazy(sources: Sources, folder: str) -> dict[str, str]:
    """Return the requirement files near a folder, which decide whether it is a Python project."""
    below = join(folder, "")
    near = (
        path for path in sources.paths if path.startswith(below) and path.count("/") <= below.count("/") + 1
    )
    return {path: sources.text(path) for path in near if path.endswith((".txt", ".in")) and "req" in path}


def _everywhere(sources: Sources) -> dict[str, dict[Language, None]]:
    """Return the root, if it declares something, or else the packages nearest to it."""
    if _declarations(sources, "") and Declaration.read(sources, ""):
        return {"": dict.fromkeys(_FILES)}
    if languages := [language for language in _FILES if _has(sources, "", language)]:
        return {"": dict.fromkeys(languages)}
    names = {name: language for language, names in _FILES.items() for name in names}
    found: dict[str, dict[Language, None]] = {}
    for path in sorted(sources.paths, key=lambda path: (path.count("/"), path)):
        folder, _, name = path.rpartition("/")
        if name not in names or SKIPPED.search(f"{folder}/"):
            continue
        if not any(above in found for above in folders_above(folder)):
            found.setdefault(folder, {})[names[name]] = None
    return found


def _recipe(
    sources: Sources,
    folder: str,
    languages: tuple[Language, ...],
    toolset: Toolset,
    version: str,
    required: bool,
) -> Recipe:
    declared = Declaration.read(sources, folder) or Declaration()
    if declared.image and toolset.chooses_image:
        toolset = _STATED_IMAGE
    parts: list[Ingredients] = []
    if declared.venv:
        parts.append(Ingredients(reasons=(f"The virtual environment {declared.venv} is used as it is",)))
    elif declared.setup is not None:
        parts.append(_declared(sources, folder, declared, toolset))
    else:
        for language in languages:
            part = _detected(sources, folder, language, toolset, declared.python, version, required)
            parts += [part] if part else []
    _check_backend(sources, declared, toolset)
    submodules = _submodules(sources)
    inputs = {path: text for part in parts for path, text in (part.inputs or {}).items()}
    origins = [declared.path, *inputs] if declared.path else list(inputs)
    python = next((part for part in parts if part.python), Ingredients())
    return Recipe(
        folder=folder,
        commands=tuple(command for part in parts for command in part.commands),
        sources=tuple(dict.fromkeys(origins)),
        inputs=hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest() if inputs else "",
        python=python.python,
        interpreter=python.interpreter,
        tools=tuple(dict.fromkeys(tool for part in parts for tool in part.tools)),
        packages=tuple(
            dict.fromkeys((*declared.packages, *(name for part in parts for name in part.packages)))
        )
        if toolset.installs_packages
        else (),
        image=declared.image,
        files=tuple(
            dict.fromkeys((*declared.files, *(name for part in parts for name in part.files), *submodules))
        ),
        venv=declared.venv,
        variables=tuple(
            sorted((dict(v for part in parts for v in part.variables) | dict(declared.env)).items())
        ),
        build_variables=tuple(sorted({v for part in parts for v in part.build_variables})),
        memory_mb=declared.memory_mb,
        cpus=declared.cpus,
        reasons=tuple(reason for part in parts for reason in part.reasons),
        faults=tuple(sources.faults),
    )


def _declared(sources: Sources, folder: str, declared: Declaration, toolset: Toolset) -> Ingredients:
    """Return the stated commands. They get a virtual environment with pip, and pytest at the end."""
    project = PythonProject.read(sources, folder)
    choice = interpreter_for(project, toolset, declared.python) if toolset.pythons else None
    setup = declared.setup or ()
    before = venv_commands(choice, seed=True) if choice and setup else ()
    after = ("uv pip install pytest",) if choice and setup else ()
    python = (f"Python {choice.version} ({choice.reason})",) if choice else ()
    # Nothing that the stated commands may install themselves is missing.
    equipped = replace(toolset, tools=toolset.tools | _STATED_IMAGE.tools)
    detected = (
        _detected(sources, folder, name, equipped, declared.python, "", True)
        for name in _FILES
        if _has(sources, folder, name)
    )
    # The commands read the project's own declarations, so a change of these needs another build.
    inputs = (
        {path: text for part in detected if part for path, text in (part.inputs or {}).items()}
        if setup
        else {}
    )
    return Ingredients(
        commands=(*before, *setup, *after),
        inputs=inputs,
        python=choice.version if choice else "",
        interpreter=choice.interpreter if choice else "",
        reasons=(*python, f"Commands of {declared.path}"),
    )


def _detected(
    sources: Sources,
    folder: str,
    language: Language,
    toolset: Toolset,
    exact: str,
    version: str,
    required: bool,
) -> Ingredients | None:
    if language == "python":
        return python_ingredients(sources, folder, toolset, exact, version)
    if language == "node":
        return node_ingredients(sources, folder, toolset, required) if _has(sources, folder, "node") else None
    if not _has(sources, folder, language):
        return None
    return (
        go_ingredients(sources, folder, toolset)
        if language == "go"
        else rust_ingredients(sources, folder, toolset)
    )


def _check_backend(sources: Sources, declared: Declaration, toolset: Toolset) -> None:
    """Record what the declaration asks for and the backend cannot do."""
    if declared.image and not toolset.chooses_image:
        sources.fault("image", f"{declared.path}: image = {declared.image!r} needs SANDBOX_BACKEND=docker.")
    if declared.venv and not toolset.shows_venv:
        sources.fault("venv", f"{declared.path}: venv = {declared.venv!r} needs SANDBOX_BACKEND=bubblewrap.")
    missing = [name for name in declared.packages if name.partition("=")[0] not in toolset.packages]
    if missing and not toolset.installs_packages:
        names = " ".join(missing)
        message = f"{declared.path}: this machine lacks {names}. Run: sudo apt-get install {names}"
        sources.fault("package", message)


def _submodules(sources: Sources) -> tuple[str, ...]:
    """Return the folders of submodules that the snapshot lacks. Each is a fault until it is filled."""
    names = re.findall(r"(?m)^[ \t]*path[ \t]*=[ \t]*(\S.*)$", sources.text(".gitmodules"))[:_MAX_SUBMODULES]
    found = []
    for name in dict.fromkeys(filter(None, (resolve("", name.strip()) for name in names))):
        if not any(path.startswith(f"{name}/") for path in sources.paths):
            message = f"The submodule {name[:200]} is empty. Run: git submodule update --init"
            sources.faults.append(Fault("submodule", message, False, path=name))
            found.append(name)
    return tuple(found)
