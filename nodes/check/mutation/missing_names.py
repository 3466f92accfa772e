"""Failures that say no more than that a name or module does not exist yet."""

import re

_BUILTIN = r"(?:NoneType|str|bytes|int|float|bool|list|tuple|dict|set|frozenset|function|generator|coroutine)"
_MISSING = re.compile(
    r"^(?:E[ \t]+)?(?:\w+\.)*(?:ImportError|ModuleNotFoundError|NameError)\b"
    rf"|^(?:E[ \t]+)?AttributeError: (?!'{_BUILTIN}' object).*\bhas no attribute\b"
    r"|^E[ \t].*\bhasattr\(",
    re.MULTILINE,
)


def lacks_name(message: str) -> bool:
    """Return whether the failure with this message is about a missing name, module or attribute.

    A test that asks with `hasattr` counts too. An attribute of a builtin type is a fault, not a missing name.
    """
    return bool(_MISSING.search(message))
