"""Lines by which models stand for what they leave out of a file."""

import re

_LONGEST = 200
_COMMENT = r"\s*(?:#|//|/\*|\{/\*|<!--|--|;|%|\*|\(|\[)\W{0,4}"
_NOUNS = (
    "code|file|functions?|methods?|class|classes|lines?|imports?|tests?|content|implementation|logic"
    "|handlers?|fields?|page|config|configuration|entries|items|rules"
)
_MARKER = re.compile(
    r"^(?=.{0,200}$)(?:\s*(?:<{5,} ?(?:SEARCH|ORIGINAL)|>{5,} ?(?:REPLACE|UPDATED))\b"
    r"|\W{0,8}(?:\.\.\.|…)\W{0,4}(?:the |your |all |keep |and )*"
    r"(?:rest|remaining|existing|previous|other|same|unchanged|original|omitted|code|imports?)\b"
    r"[\w ,'()-]*\W*$"
    rf"|{_COMMENT}(?:the |all |keep )*(?:rest of|remaining|existing|other)\b.*\b(?:{_NOUNS})\b.*"
    r"(?:\.\.\.|…|unchanged|the same|as before|as is|stays?|here)\W*$"
    rf"|{_COMMENT}(?:code |lines )?(?:unchanged|omitted|snip|snipped|truncated)"
    r"(?: for brevity| here| code)?\W*$)",
    re.IGNORECASE,
)
_DOTS = re.compile(r"^\s*(?:#|//|/\*|<!--|--|;)\s{0,4}(?:\.{3,}|…)\W{0,4}$")
"""Comments of dots alone. They stand for lines of an existing file, but may be the content of a new one."""


def elision(text: str, old: str | None) -> str:
    """Return the first line that stands for others, or is a marker of search and replace. Empty without one.

    `old` is the file's former text. Its lines are content.
    """
    known = frozenset((old or "").splitlines())
    for line in text.splitlines():
        if len(line) >= _LONGEST or line in known:
            continue
        if _MARKER.match(line) or (old is not None and _DOTS.match(line)):
            return line.strip()
    return ""
