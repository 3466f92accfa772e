"""The choice of the file that declares a repository's Python packages, and of the lock that follows it."""

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from sandbox.environment.detection.detect import SKIPPED
from sandbox.environment.detection.python_files import setup_keywords
from sandbox.environment.detection.python_install import POETRY
from sandbox.environment.detection.python_project import PythonProject
from sandbox.environment.detection.sources import Sources, join, resolve, strings, table
from tools.catalogue.parameters import package_name
from tools.declaration.declared import DeclarationError, Declared, Renewal
from tools.declaration.requirements import REQUIREMENTS, SOURCE, in_requirements
from tools.declaration.setup_cfg import in_setup_cfg
from tools.declaration.toml_list import in_poetry, in_project

PYPROJECT = "pyproject.toml"

# `uv lock` and the others keep the versions that a lock has, so far as the new declaration allows.
_LOCKING = {
    "uv.lock": "uv lock{python}",
    "poetry.lock": f"{POETRY} lock --no-interaction --no-ansi",
    "pdm.lock": "uv tool run pdm lock --update-reuse",
}
_FILES = (PYPROJECT, "setup.py", "setup.cfg", "Pipfile", REQUIREMENTS, SOURCE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_MOST_FOLDERS = 50
_SHOWN_FOLDERS = 5


def declare(
    files: Mapping[str, str],
    add: Sequence[str] = (),
    remove: Collection[str] = (),
    folder: str | None = None,
) -> Declared:
    """Return the declaration of a folder with packages added and removed.

    `files` maps all paths to their texts and may be lazy. Without a folder, the root counts if it declares
    packages, else the only folder that does. `remove` holds normalised names. As with pip, a name alone
    changes nothing if some version of the package is declared. Raises DeclarationError.
    """
    sources = Sources(files)
    place = _only_folder(sources) if folder is None else _checked_folder(sources, folder)
    project = PythonProject.read(sources, place)
    add = [each for each in add if not (_NAME.fullmatch(each) and _is_declared(project, package_name(each)))]
    gone = {*remove, *map(package_name, add)}
    declared = _declared(project, add, gone)
    if fault := next((fault for fault in sources.faults if fault.fatal), None):
        raise DeclarationError(fault.message)
    if declared.renewal or not project.lock:
        return declared
    command = _LOCKING.get(project.lock.rpartition("/")[2])
    if command is None:
        how = "only its own tool can renew it; add the package with that tool, and commit it"
        raise DeclarationError(f"{project.lock} pins the packages, and {how}")
    return replace(declared, renewal=Renewal(project.lock, command))


def _is_declared(project: PythonProject, name: str) -> bool:
    """Return whether the declaration would lose something without a package."""
    with suppress(DeclarationError):  # whoever adds the package is told
        return _declared(project, (), {name}).text != _declared(project, (), ()).text
    return False


def _declared(project: PythonProject, add: Sequence[str], gone: Collection[str]) -> Declared:
    """Return the edited declaration of a project."""
    sources, folder = project.sources, project.folder
    path = join(folder, PYPROJECT)
    text, metadata, poetry = sources.text(path), project.pyproject.get("project"), project.poetry
    if metadata is not None and not isinstance(metadata, dict):
        raise DeclarationError(f"{path}: `project` is no table; correct the file")
    if poetry and "dependencies" not in (metadata or {}):
        return Declared(folder, path, in_poetry(path, text, add, gone))
    if metadata is not None and "dependencies" not in strings(metadata.get("dynamic")):
        return Declared(folder, path, in_project(path, text, add, gone))
    if name := _dynamic_file(project):
        return in_requirements(sources, folder, add, gone, name)
    if "setup.py" in project and _lists_packages(sources.python(join(folder, "setup.py"))):
        path = join(folder, "setup.py")
        message = f"{path} is a program that lists the packages itself; plan a step of a coder that edits it"
        raise DeclarationError(message)
    if "setup.cfg" in project and "options" in sources.ini(join(folder, "setup.cfg")):
        path = join(folder, "setup.cfg")
        return Declared(folder, path, in_setup_cfg(sources, path, add, gone))
    if metadata is not None:
        raise DeclarationError(f"the dependencies in {path} are dynamic; edit what declares them in a step")
    if REQUIREMENTS not in project:
        for name in ("setup.py", "Pipfile", "environment.yml"):
            if name in project:
                path = join(folder, name)
                raise DeclarationError(f"{path} declares the packages; plan a step of a coder that edits it")
        if not add:
            where = folder or "the root"
            raise DeclarationError(f"neither {PYPROJECT} nor {REQUIREMENTS} in {where} declares packages")
    return in_requirements(sources, folder, add, gone)


def _dynamic_file(project: PythonProject) -> str:
    """Return the requirement file that setuptools reads the dependencies from, empty if there is none."""
    listed = table(project.pyproject, "tool", "setuptools", "dynamic", "dependencies").get("file")
    names = [listed] if isinstance(listed, str) else strings(listed)
    name = resolve("", names[0]) if len(names) == 1 else None
    return name if name and name in project else ""


def _lists_packages(script: ast.Module | None) -> bool:
    """Return whether a setup.py lists packages, or may do so in a way that only running it shows."""
    if script is None:
        return True
    return any(keyword.arg in (None, "install_requires") for keyword in setup_keywords(script))


def _checked_folder(sources: Sources, folder: str) -> str:
    place = "" if folder == "." else folder
    if place and not any(path.startswith(f"{place}/") for path in sources.paths):
        raise DeclarationError(f"there is no folder {place[:200]}")
    return place


def _only_folder(sources: Sources) -> str:
    """Return the root, or the only folder that declares packages where the root declares none."""
    if _declares(sources, ""):
        return ""
    named = (path.rpartition("/") for path in sorted(sources.paths, key=lambda path: (path.count("/"), path)))
    folders = dict.fromkeys(
        folder for folder, _, name in named if name in _FILES and folder and not SKIPPED.search(f"{folder}/")
    )
    found = [folder for folder in islice(folders, _MOST_FOLDERS) if _declares(sources, folder)]
    if len(found) > 1:
        names = ", ".join(found[:_SHOWN_FOLDERS]) + (", …" if len(found) > _SHOWN_FOLDERS else "")
        raise DeclarationError(f"several folders declare packages: {names}; name one of them as `folder`")
    return found[0] if found else ""


def _declares(sources: Sources, folder: str) -> bool:
    """Return whether a folder declares packages. Its pyproject.toml may only configure tools."""
    paths = [join(folder, name) for name in _FILES[1:]]
    if any(path in sources for path in paths):
        return True
    tables = sources.toml(join(folder, PYPROJECT)) if join(folder, PYPROJECT) in sources else {}
    return "project" in tables or bool(table(tables, "tool", "poetry"))
