"""The choice of a Python interpreter among those that the machine has."""

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sandbox.environment.recipe import Python, Toolset

# uv can fetch these. The first one that fits is taken, so the usual ones come first.
_FETCHABLE = ("3.12", "3.13", "3.11", "3.14", "3.10", "3.9", "3.15", "3.8")
_OLDEST = (3, 8)  # uv's oldest


@dataclass(frozen=True)
class PythonChoice:
    """The chosen version. `interpreter` is empty when the machine has none that fits."""

    version: str
    interpreter: str
    reason: str


def choose_python(
    toolset: Toolset, exact: str, preferred: str, requires: str, origin: str
) -> PythonChoice | None:
    """Choose an interpreter, or a version that uv must fetch. None when no version fits.

    `exact` comes from `.autocode.toml` and is binding. `preferred` comes from `.python-version` and gives way
    to `requires`, a specifier set that stands in the file `origin`.
    """
    usable = [python for python in toolset.pythons if _numbers(python.version) >= _OLDEST]
    allowed = _specifiers(requires)
    if exact:
        found = next((python for python in usable if _is_within(python, exact)), None)
        return _chosen(found, exact, "python in .autocode.toml")
    usable = [python for python in usable if allowed.contains(python.version, prereleases=True)]
    found = next((python for python in usable if preferred and _is_within(python, preferred)), None)
    if found:
        return _chosen(found, preferred, ".python-version")
    reason = f"{requires} in {origin}" if requires else "the machine's default"
    if usable:
        return _chosen(usable[0], usable[0].version, reason)
    version = next((minor for minor in _FETCHABLE if allowed.contains(f"{minor}.99")), "")
    return _chosen(None, version, reason) if version else None


def poetry_specifier(text: str) -> str:
    """Translate Poetry's `^3.9` and `~3.9` into PEP 440."""
    parts = []
    for part in re.split(r"[,\s]+", text.strip()):
        match = re.fullmatch(r"([\^~])(\d+)(?:\.(\d+))?(?:\.(\d+))?", part)
        if not match:
            parts.append(f"=={part}" if re.fullmatch(r"\d+(\.\d+)*(\.\*)?", part) else part)
            continue
        major, minor = int(match[2]), match[3]
        upper = f"{major + 1}" if match[1] == "^" or minor is None else f"{major}.{int(minor) + 1}"
        parts.append(f">={part[1:]},<{upper}")
    return ",".join(part for part in parts if part and part != "*")


def python_version_file(text: str) -> str:
    """Return the version that the first line of `.python-version` names, if it is CPython's."""
    match = re.match(r"\s*(?:cpython[-@])?(\d+\.\d+(?:\.\d+)?)\s*(?:\n|$)", text[:200])
    return match[1] if match else ""


def _specifiers(text: str) -> SpecifierSet:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return SpecifierSet("")


def _chosen(found: Python | None, version: str, reason: str) -> PythonChoice:
    return PythonChoice(found.version if found else version, found.path if found else "", reason)


def _is_within(python: Python, version: str) -> bool:
    return python.version == version or python.version.startswith(f"{version}.")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
