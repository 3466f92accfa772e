"""Types of parameters. Each accepts plain names only, and says what is wrong with anything else."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from sandbox.base import WORKSPACE
from tools.workspace import PathError, check_path

MOST_WORDS = 50
"""The most values of one parameter."""

MOST_TEXT = 20_000
"""The most characters of a message or a program."""

_SLASHES = re.compile("[\u2044\u2215\u29f8\u29f5\uff0f\ufe68\uff3c]")
_DASHES = re.compile("^[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_PACKAGE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)"
    r"(?:\[[A-Za-z0-9._-]{1,50}(?:,[A-Za-z0-9._-]{1,50}){0,9}\])?"
    r"(?:(?:===?|~=|!=|<=?|>=?)[A-Za-z0-9.*+!-]{1,50}"
    r"(?:,(?:===?|~=|!=|<=?|>=?)[A-Za-z0-9.*+!-]{1,50}){0,9})?"
)
# An address with a user could carry a password into logs, and a query could carry anything.
_URL = re.compile(r"https://[A-Za-z0-9.-]{1,253}(?::\d{1,5})?(?:/[A-Za-z0-9._~+@%-]{1,200}){1,20}/?")
# None of these can begin with a dash, so none can become an option.
_COMMAND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_REMOTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,199}")


def _check_path(path: str) -> str:
    """Return a path below the workspace, relative to it. Raises ValueError."""
    relative = "." if path == WORKSPACE else path.removeprefix(f"{WORKSPACE}/")
    while relative.startswith("./"):
        relative = relative[2:]
    relative = relative.rstrip("/") if relative.strip("/") else relative
    if relative.startswith(("-", "~")) or _DASHES.match(relative):
        raise ValueError("a path must not begin with a dash or `~`")
    if relative in ("", "."):
        return "."
    try:
        check_path(relative)
        if _SLASHES.search(relative):
            raise PathError("it holds a character that looks like a slash; write the real one")
        # Who approves cannot tell full-width dots from dots, and some file systems do not either.
        check_path(unicodedata.normalize("NFKC", relative))
    except PathError as error:
        raise ValueError(str(error).rpartition(": ")[2]) from error
    return relative


def _check_file(path: str) -> str:
    """Return a path that is not the workspace itself. Raises ValueError."""
    if (checked := _check_path(path)) == ".":
        raise ValueError("name a file or folder below the root, not the root itself")
    return checked


def _check_test(selector: str) -> str:
    """Return a path, or the name of a test such as `tests/test_a.py::test_b`. Raises ValueError."""
    path, colons, name = selector.partition("::")
    if not name.isprintable():
        raise ValueError("the name of a test contains a character that cannot be printed")
    return _check_path(path) + colons + name


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text must not contain NUL")
    return text


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("write one line of plain text")
    return text


def _matches(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    """Return a validator for values that match a pattern as a whole."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"write {expected}")
        return value

    return AfterValidator(check)


def _check_branch(name: str) -> str:
    parts = name.split("/")
    wrong = any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    if wrong or ".." in name or name == "HEAD":
        raise ValueError("this cannot be the name of a branch")
    return name


def package_name(specifier: str) -> str:
    """Return the normalised name of a package from a specifier such as `Requests[socks]>=2`."""
    match = _PACKAGE.fullmatch(specifier)
    return re.sub(r"[-_.]+", "-", match["name"]).lower() if match else specifier


RelativePath = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_check_path)]
"""A file or folder of the repository, `.` for its root."""

EntryPath = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_check_file)]
"""A file or folder below the root."""

TestSelector = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_check_test)]
Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT), AfterValidator(_check_text)]
PlainLine = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_check_line)]
Word = Annotated[str, Field(max_length=4000), AfterValidator(_check_text)]

PackageSpecifier = Annotated[
    str,
    Field(max_length=300),
    _matches(_PACKAGE, "the name of a package, such as requests or requests>=2.31; no URL, path or option"),
]
Distribution = Annotated[
    str, Field(max_length=100), _matches(_REMOTE, "the name of an installed package, such as requests")
]
CommandName = Annotated[
    str, Field(max_length=100), _matches(_COMMAND, "the plain name of a command, such as python")
]
RemoteName = Annotated[
    str, Field(max_length=100), _matches(_REMOTE, "the name of a remote, such as origin, and no address")
]
BranchName = Annotated[
    str,
    Field(max_length=200),
    _matches(_BRANCH, "the name of a branch, such as main, without `:`, `+`, `^` or `~`"),
    AfterValidator(_check_branch),
]
RepositoryUrl = Annotated[
    str,
    Field(max_length=2000),
    _matches(_URL, "an https:// address without user, password, query or fragment"),
]
