"""Text of models, reporters and repositories, made harmless where GitHub, GitLab or a prompt shows it.

An invisible space breaks what the sites would act on: mentions, which send mail to people, references, with
which a text closes issues, and commands of GitLab at the beginning of a line.
"""

import re
from unicodedata import category

from memory.validation import valid_text

BREAK = "\u200b"

# References of GitHub and GitLab, keys such as PROJ-12 of trackers that listen to both, links, images, tags.
_ACTIVE = re.compile(
    r"@(?=\w)|[#!&$%~^](?=[\w\"\[])|\b[Gg][Hh]-(?=\d)|\b[A-Z][A-Z0-9_]{1,20}-(?=\d)"
    r"|(?<=[A-Za-z])://|\b[Ww]{3}\.(?=\w)|<(?=[\w/!?])|\](?=[(\[:])"
)


_ACTS = re.compile(
    r"(?<!\w)@\w[\w/-]{0,60}"
    r"|\b(?:clos|fix|resolv|implement)(?:e[sd]?|ed|ing|s)?:?\s{1,3}(?:[\w./-]{0,80}#\d+|GH-\d+|https?://\S{1,200}|[A-Z]+-\d+)",
    re.IGNORECASE,
)


def actions(text: str) -> list[str]:
    """Return the parts of a commit message that mention people or close issues once it is merged."""
    return list(dict.fromkeys(match[0] for match in _ACTS.finditer(text)))


def visible(text: str) -> str:
    """Return text without what nobody sees: control characters, invisible ones, and HTML comments."""
    text = valid_text(text).replace("\r\n", "\n").replace("\r", "\n")
    # A pattern would look for the end of each comment again, which takes quadratic time.
    parts, position = [], 0
    while (start := text.find("<!--", position)) >= 0:
        parts.append(text[position:start])
        end = text.find("-->", start + 4)
        position = end + 3 if end >= 0 else len(text)
    parts.append(text[position:])
    return "".join(
        char for char in "".join(parts) if char in "\n\t" or category(char) not in ("Cc", "Cf", "Co", "Cn")
    )


def inert(text: str) -> str:
    """Return text that the sites show as it is, and act on in no way."""
    return _ACTIVE.sub(lambda match: match[0] + BREAK, visible(text))


def inert_line(text: str, length: int = 200) -> str:
    """Return inert text as one line of limited length, which is no heading, list or command."""
    line = " ".join(visible(text).split())
    line = line if len(line) <= length else line[: length - 1].rstrip() + "…"
    shown = inert(line)
    return BREAK + shown if shown[:1] in tuple("/#>-+*=`~0123456789") else shown


def quoted(text: str, length: int = 4000) -> str:
    """Return inert text as a quotation, so that it cannot pass for a part of the text around it."""
    lines = [line.rstrip() for line in visible(text).strip().splitlines()]
    whole = "\n".join(lines)
    cut = whole if len(whole) <= length else whole[: length - 1].rstrip() + "…"
    return "\n".join(f"> {_unmarked(inert(line))}".rstrip() for line in cut.splitlines())


def _unmarked(line: str) -> str:
    """Break what begins a command of GitLab, a fence or a heading in a quotation."""
    text = line.lstrip()
    return BREAK + text if text[:1] in tuple("/`~#") else line
