"""Globs as JavaScript's tools write them."""

import re
from functools import lru_cache
from itertools import product

_LONGEST = 200
_MOST_CHOICES = 64
_KEPT = 1_000
_PARTS = re.compile(r"[?@+*]\(([^()]*)\)|\{([^{}]*)\}|\[[^\[\]/]*\]|\*+/?|[^?@+*{\[]+|.")
_FOLDERS = re.compile(r"(?:^|(?<=/))(?:\*\*/)+")
_SIMPLE = re.compile(r"\*+|\[[^\[\]/]*\]|\?|[^*?\[]+|.")


def matches(path: str, glob: str) -> bool:
    """Return whether a path fits a glob. A glob that cannot be read, or is too complex, fits nothing."""
    return any(pattern.fullmatch(path) for pattern in _patterns(glob))


@lru_cache(_KEPT)
def _patterns(glob: str) -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each combination of the glob's choices."""
    glob = re.sub(r"^(?:<rootDir>/|\./)", "", glob)
    if len(glob) > _LONGEST or "!(" in glob:
        return ()
    choices: list[list[str]] = []
    count = 1
    for part in _PARTS.finditer(glob):
        texts = [part[0]]
        if part[1] is not None:
            texts = [*part[1].split("|"), *([""] if part[0][0] in "?*" else [])]
        elif part[2] is not None:
            texts = part[2].split(",")
        choices.append(texts)
        count *= len(texts)
        if count > _MOST_CHOICES:
            return ()
    try:
        return tuple(_compiled(_joined(texts)) for texts in product(*choices))
    except re.error:
        return ()


def _joined(texts: tuple[str, ...]) -> str:
    """Join the texts of a combination. Stars that meet are one star, not the one that crosses folders."""
    return re.sub(r"\*\0+\*", "*", "\0".join(texts)).replace("\0", "")


def _compiled(glob: str) -> re.Pattern[str]:
    """Compile a glob without choices. Raises re.error.

    The first place at which the text after a star fits is the right one if another star of the same reach
    follows, so nothing before it is tried again. Hence the atomic groups, which keep the time linear.
    """
    *chunks, last = _FOLDERS.split(glob)
    end = ".*" if last == "**" or last.endswith("/**") else ""
    tail = _within(last.removesuffix("**") if end else last) + end
    if not chunks:
        return re.compile(tail, re.DOTALL)
    first, *inner = map(_within, chunks)
    atomic = "".join(f"(?>(?:.*?/)??{chunk})" for chunk in inner)
    return re.compile(f"{first}{atomic}(?:.*/)?{tail}", re.DOTALL)


def _within(chunk: str) -> str:
    """Translate a part of a glob in which stars stay in their folder."""
    pieces: list[str] = []
    star = -1  # the place of the last star of this folder
    for part in _SIMPLE.finditer(chunk):
        text = part[0]
        if text[0] == "*":
            if star >= 0:
                pieces[star:] = [f"(?>[^/]*?{''.join(pieces[star + 1 :])})"]
            star = len(pieces)
            pieces.append("[^/]*")
        elif text == "?":
            pieces.append("[^/]")
        elif text[0] == "[" and len(text) > 2 and "\\" not in text:
            pieces.append(text)
        else:
            star = -1 if "/" in text else star
            pieces.append(re.escape(text))
    return "".join(pieces)
