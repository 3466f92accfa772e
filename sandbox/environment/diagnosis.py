"""Diagnosis of failed builds: the missing thing by name, and what to do about it."""

import re
from collections.abc import Iterable

from sandbox.environment.backend import Built
from sandbox.environment.build_script import COMMAND_MARK
from sandbox.environment.recipe import Recipe

_LAST_LINES = 20
_MAX_CHARACTERS = 200_000
_LINE_CHARACTERS = 300
_FETCH = "uv python install "

# The first match wins, so the most precise patterns come first. They see single lines of limited length.
_HEADER = "{0} is missing: install the -dev package that brings it"
_PROGRAM = "the program {0} is missing: install it"
_PROGRAMS = (
    "pg_config|mysql_config|pkg-config|cmake|ninja|cargo|rustc|go|java|git|make|swig|gcc|g\\+\\+|cc|clang"
)
_NO_PACKAGE = "no registry has the package {0}"
_NO_HOST = "the host {0} cannot be reached"
_CAUSES: tuple[tuple[str, str], ...] = (
    (r"fatal error: ([\w./+-]+\.h(?:pp)?): No such file", f"the header {_HEADER}"),
    (r"cannot find -l([\w.+-]+)", f"the library {_HEADER}"),
    (r"Package '?([\w.+-]+)'?,? (?:was )?not found in the pkg-config", f"the library {_HEADER}"),
    (rf"\b({_PROGRAMS})\b['\"`: ].{{0,60}}(?:not found|No such file)", _PROGRAM),
    (r"(?:sh|bash): (?:line )?\d{0,9}:? ?([\w./+-]{1,200}): (?:command )?not found", _PROGRAM),
    (r"No (?:interpreter|download|version) found for ([\w .<>=+-]+?)(?: in .*)?$", "{0} is missing here"),
    (r"Because ([\w.-]+) was not found in the package registry", _NO_PACKAGE),
    (r"No matching distribution found for ([^\s(]+)", _NO_PACKAGE),
    (r"404 Not Found.{0,200}?/(@?[\w.%-]+(?:/[\w.%-]+)?)\b", _NO_PACKAGE),
    (r"Because there (?:is|are) no versions? of ([^ ]+)", "no registry has a fitting version of {0}"),
    (r"Unable to find lockfile|lock ?file.{0,200}needs to be", "the lock file is out of date: lock again"),
    (r"can only install packages when.{0,200}in sync", "package-lock.json is out of date: run npm install"),
    (r"No module named '([\w.]+)'", "the build needs the Python module {0} and does not declare it"),
    (r"Required: (\{.{0,200}?\})", "another Node version is needed: {0}"),
    (r"(No space left on device)", "{0}"),
    (r"(?:Could not resolve host|getaddrinfo (?:ENOTFOUND|EAI_AGAIN))[: ]*([\w.-]*)", _NO_HOST),
    (r"invalid peer certificate|certificate verify failed|SELF_SIGNED", "a certificate is not trusted"),
    (r"401 Unauthorized|403 Forbidden|E401|E403", "a registry refuses access: configure its password"),
    (r"No solution found when resolving", "the declared versions contradict each other"),
    (r"^((?:\w+\.)*\w*(?:Error|Exception): .{5,250})$", "{0}"),
    (r"\berror: (.{10,250})$", "{0}"),
)
_PATTERNS = tuple((re.compile(pattern), text) for pattern, text in _CAUSES)


def explain(recipe: Recipe, built: Built, output: str, seconds: float, memory_mb: int, lock: str = "") -> str:
    """Return the message for a failed build: cause, failed command, last lines, and what to write where.

    `lock` is the path of the lock that was to be renewed, empty for an environment.
    """
    lines = _lines(output)
    command = next(
        (line.removeprefix(COMMAND_MARK) for line in reversed(lines) if line.startswith(COMMAND_MARK)), ""
    )
    place = f" of {recipe.folder}" if recipe.folder else ""
    failed = f"{lock} could not be renewed" if lock else f"The environment{place} could not be built"
    parts = [f"{failed}: {_cause(built, lines, command, seconds, memory_mb)}."]
    if command:
        parts.append(f"The command that failed: {command}")
    if built.refused_hosts:
        parts.append(f"These hosts are out of reach for a build: {', '.join(built.refused_hosts)}")
    origin = f"{recipe.folder}/.autocode.toml" if recipe.folder else ".autocode.toml"
    if not lock:
        parts.append(f'To build it in another way, write in {origin}: [environment] setup = ["…"]')
    last = [line for line in lines if line][-_LAST_LINES:]
    return "\n".join([*parts, "Last lines of the output:", *(f"    {line}" for line in last)])


def _cause(built: Built, lines: list[str], command: str, seconds: float, memory_mb: int) -> str:
    if built.over_disk:
        return "it wrote too much to the disk"
    if built.result.timed_out:
        return f"it took longer than {seconds:.0f} s. Raise ENVIRONMENT_TIMEOUT"
    if built.result.out_of_memory:
        return f"it needed more than {memory_mb} MB of memory"
    if command.startswith(_FETCH):
        return f"Python {command.removeprefix(_FETCH)} is missing, and uv could not fetch it: install it"
    # Errors come last, so the end is searched first for each pattern.
    for pattern, text in _PATTERNS:
        for line in reversed(lines):
            if not line.startswith(COMMAND_MARK) and (match := pattern.search(line)):
                return text.format(*(group or "" for group in match.groups()))
    return f"a command ended with exit code {built.result.exit_code}"


def _lines(output: str) -> list[str]:
    text = output[-_MAX_CHARACTERS:]
    plain = re.sub(r"\x1b\[[0-9;]{0,20}[A-Za-z]", "", text)
    return [_printable(line)[:_LINE_CHARACTERS].strip() for line in plain.splitlines()]


def _printable(characters: Iterable[str]) -> str:
    return "".join(character if character.isprintable() else " " for character in characters)
