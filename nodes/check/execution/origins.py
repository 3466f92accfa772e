"""The places that the changed modules were imported from, which must all lie in the workspace.

An environment may hold the project itself, as an older release or as a copy. Its tests would then judge that.
"""

import json
import re
import sys
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from nodes.check.change import CheckedChange
from sandbox.base import WORKSPACE, Result

MARK = "autocode-origin "
_ROOTS = ("", "src", "lib", "python")
_NO_ROOT = re.compile(
    r"(?:^|/)_?(?:vendor\w*|third_party|extern\w*|tests?|testing|docs?|examples?|scripts|tools)(?:/|$)"
)
_MOST = 300
_NAMED = 3

# Runs in the place of `python -m pytest` where the cases are listed. A name that nobody imported while the
# cases were collected is looked up as a test would import it.
_PROGRAM = f"""\
import importlib.util, json, sys
import pytest
names, found = json.loads(sys.argv[1]), {{}}
class Origins:
    def pytest_collection_finish(self, session):
        for name in names:
            try:
                module = sys.modules.get(name)
                spec = None if module else importlib.util.find_spec(name)
                found[name] = getattr(module, "__file__", None) or (spec.origin if spec else None)
            except BaseException:  # importing a parent package runs code of the repository
                pass
code = pytest.main(sys.argv[2:], plugins=[Origins()])
for name, origin in found.items():
    print({MARK!r} + json.dumps([name, origin]))
sys.exit(code)
"""


def watching(command: tuple[str, ...], names: Iterable[str]) -> tuple[str, ...]:
    """Return a command that lists cases, and at its end the origins of modules."""
    for at in range(len(command) - 2):
        if command[at + 1 : at + 3] == ("-m", "pytest"):
            program = ("-c", _PROGRAM, json.dumps(sorted(names)[:_MOST]))
            return (*command[: at + 1], *program, *command[at + 3 :])
    return command


def module_names(paths: Iterable[str], files: Collection[str], roots: Iterable[str] = ()) -> set[str]:
    """Return the dotted names of the modules at `paths`, for those whose root may be on the import path."""
    names = set()
    known = {*_ROOTS, *(str(PurePosixPath(root)) for root in roots)}
    for path in map(PurePosixPath, paths):
        parts = [path.stem]
        folder = path.parent
        while str(folder) != "." and str(folder / "__init__.py") in files:
            parts.insert(0, folder.name)
            folder = folder.parent
        root = "" if str(folder) == "." else str(folder)
        on_path = root in known or (len(parts) > 1 and not _NO_ROOT.search(root))
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and on_path and parts[0] not in sys.stdlib_module_names:
            names.add(".".join(parts))
    return names


def changed_modules(change: CheckedChange) -> frozenset[str]:
    """Return the names of the product's modules that a change edits."""
    paths = [path for path in change.changed if path.endswith(".py") and not change.is_of_tests(path)]
    return frozenset(module_names(paths, change.head_files, change.suite.options.pythonpath))


def foreign_imports(listing: Result) -> str:
    """Return the sentence that names modules which came from elsewhere, empty if all came from the change."""
    found = []
    for line in listing.stdout.splitlines():
        if not line.startswith(MARK):
            continue
        # The program under test writes to the same output, so nothing about the line is certain.
        try:
            name, origin = json.loads(line.removeprefix(MARK))
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(origin, str) and origin.endswith(".py") and not origin.startswith(f"{WORKSPACE}/"):
            found.append((str(name)[:200], origin[:300]))
    if not found:
        return ""
    name, origin = found[0]
    place = "site-packages" if "site-packages" in origin else str(PurePosixPath(origin).parent)
    more = [other for other, _ in found[1:_NAMED]]
    names = ", ".join([name, *more]) + (" and more" if len(found) > _NAMED else "")
    return f"the tests imported {names} from {place}, not from the change ({origin})"
