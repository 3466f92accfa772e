"""Globs as JavaScript's tools write them."""

import re
from functools import cache

_LONGEST = 200
_MOST_STARS = 8
_PARTS = re.compile(r"\*\*/|\*\*|\*|[?@+*]\(([^()]*)\)|\{([^{}]*)\}|\[[^\[\]/]*\]|\?|[^*?@+{}()\[\]]+|.")


def matches(path: str, glob: str) -> bool:
    """Return whether a path fits a glob. A glob that cannot be read fits nothing."""
    pattern = _pattern(glob)
    return pattern is not None and bool(pattern.fullmatch(path))


@cache
def _pattern(glob: str) -> re.Pattern[str] | None:
    glob = re.sub(r"^(?:<rootDir>/|\./)", "", glob)
    if len(glob) > _LONGEST or glob.count("*") > _MOST_STARS or "!(" in glob:
        return None
    pieces = []
    for part in _PARTS.finditer(glob):
        text = part[0]
        if text == "**/":
            pieces.append("(?:.*/)?")
        elif text == "**":
            pieces.append(".*")
        elif part[1] is not None:
            choices = "|".join(map(_simple, part[1].split("|")))
            pieces.append(f"(?:{choices}){'?' if text[0] in '?*' else ''}")
        elif part[2] is not None:
            pieces.append(f"(?:{'|'.join(map(_simple, part[2].split(',')))})")
        else:
            pieces.append(text if text[0] == "[" and len(text) > 2 and "\\" not in text else _simple(text))
    try:
        return re.compile("".join(pieces))
    except re.error:
        return None


def _simple(text: str) -> str:
    return re.escape(text).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
