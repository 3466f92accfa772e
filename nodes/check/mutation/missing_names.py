"""Failures that say no more than that a name or module does not exist yet."""

import re

from nodes.check.runners.test_names import is_test_name
from sandbox.base import WORKSPACE

_BUILTIN = r"(?:NoneType|str|bytes|int|float|bool|list|tuple|dict|set|frozenset|function|generator|coroutine)"
_MISSING = re.compile(
    r"^(?:E[ \t]+)?(?:\w+\.)*(?:ImportError|ModuleNotFoundError|NameError)\b"
    rf"|^(?:E[ \t]+)?AttributeError: (?!'{_BUILTIN}' object).*\bhas no attribute\b"
    r"|^E[ \t].*\bhasattr\(",
    re.MULTILINE,
)


_PLACE = re.compile(r'^([^\s:"]+\.py):\d+: |^[ \t]*File "([^"]+\.py)", line \d+, in ', re.MULTILINE)


def lacks_name(message: str) -> bool:
    """Return whether the failure with this message is about a missing name, module or attribute.

    A test that asks with `hasattr` counts too. An attribute of a builtin type is a fault, not a missing name,
    and so is a name that the product itself misses while a test runs it.
    """
    return misses_name(message) and not _is_raised_by_product(message)


def misses_name(message: str) -> bool:
    """Return whether the failure with this message is about a missing name, in tests or in the product."""
    return bool(_MISSING.search(message))


def _is_raised_by_product(message: str) -> bool:
    """Return whether the last place of a traceback is product code, and no hook that looks names up."""
    places = list(_PLACE.finditer(message))
    if not places:
        return False
    path = places[-1][1] or places[-1][2]
    # Other packages raise for the names that a test asks them for.
    outside = path.startswith(("/", "..")) and not path.startswith(f"{WORKSPACE}/")
    if outside or "site-packages/" in path or is_test_name(path) or path.endswith("conftest.py"):
        return False
    before = places[-2].end() if len(places) > 1 else 0
    return "__getattr" not in message[before:]
