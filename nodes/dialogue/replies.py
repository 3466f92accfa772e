"""Replies of models: edits in fenced blocks, and plans and verdicts as one JSON object."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from memory.validation import check_json, refuse_constant
from nodes.dialogue.blocks import Blocks, TooMany, UnclosedBlock, has_inner_fences, split_blocks
from nodes.llm.fences import FENCE
from nodes.llm.reasoning import without_reasoning

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?P<title>\S.*)$")
_DELETE = re.compile(
    r"^ {0,3}#{1,6}[ \t]+(?:delete|remove)[ \t]+(?P<quote>[`*]{0,3})(?P<path>[^\s`*]|[^\s`*][^`*]*[^\s`*])"
    r"(?P=quote)[ \t]*$",
    re.IGNORECASE,
)
_MOVE = re.compile(r"^ {0,3}#{1,6}[ \t]+(?:rename|move|copy|chmod)[ \t]+[`*]*[\w.-]*[./]", re.IGNORECASE)
# The parts of a heading that are no part of its path: a number, a verb, quotes, a remark, a colon.
_NUMBER = re.compile(r"^(?:step[ \t]+)?\d{1,3}[.):][ \t]+", re.IGNORECASE)
_VERB = re.compile(
    r"^(?:(?:new|full|whole|updated|modified|complete)[ \t]+)?"
    r"(?:file(?:name)?|path|create|created|new|add|added|update|updated|edit|modify|modified|write|replace)"
    r"(?:[ \t]+file)?(?::[ \t]*|[ \t]+)",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"(?<![ \t])[ \t]+(?:\([^()]{1,60}\)|\[[^\[\]]{1,60}\]|-{1,2}[ \t]+(?:new|updated)(?: file)?)$"
)
_PLAIN_PATH = re.compile(r"(?:\./)?[^\s`*\"'<>|?:#()\[\]{},;!$&\\]+")
_SPACED_PATH = re.compile(r"^[\w./ -]{1,200}\.\w{1,12}")
_VERSION = re.compile(r"v?[\d.]+")
_QUOTED_PATH = re.compile(
    r"^(?=[*`\"])(?P<stars>\*{0,3})(?P<tick>`*|\")(?P<path>[^`*\"\n]+)(?P=tick)(?P=stars)"
)
_HEADER = re.compile(r" {0,3}(?:---|\+\+\+) (?:[ab]/)?(?P<path>\S+)")
_BARE_DIFF = re.compile(r"^--- \S.*\n\+\+\+ \S(?s:.*)", re.MULTILINE)
_NO_EDIT = {
    "BLOCKED": re.compile(r"^[^\w\n]{0,20}BLOCKED\b[^\w\n]{0,20}(?P<reason>\S.*)$", re.MULTILINE),
    "NO CHANGE": re.compile(r"^[^\w\n]{0,20}NO[ _-]?CHANGES?\b[^\w\n]{0,20}(?P<reason>\S.*)$", re.MULTILINE),
    "NO TESTS": re.compile(
        r"^[^\w\n]{0,20}NO[ _-]?TESTS?\b[^\w\n]{0,20}(?P<reason>\S.*)$", re.MULTILINE | re.IGNORECASE
    ),
    "NOT THE CHANGE": re.compile(
        r"^[^\w\n]{0,20}NOT[ _-]THE[ _-]CHANGE\b[^\w\n]{0,20}(?P<reason>\S.*)$", re.MULTILINE
    ),
}
_NAMES_WITHOUT_DOT = re.compile(
    r"(?:Make|Docker|Container|Proc|Rake|Gem|Pip|Brew|Just|Vagrant|Jenkins)file|LICEN[CS]E|COPYING|NOTICE|README"
    r"|CHANGELOG|CHANGES|AUTHORS|CODEOWNERS|VERSION|MANIFEST|INSTALL|TODO|WORKSPACE|BUILD"
)
_MOST_REPEATED, _FEWEST_REPEATED = 40, 12
"""Limits of what a model repeats when it goes on: lines, and characters without blanks."""

_MOST_BRACES = 200
"""The number of braces at which a JSON object is looked for."""


NoEdit = Literal["NO CHANGE", "NO TESTS", "NOT THE CHANGE", "BLOCKED"]


class Unusable(Exception):
    """A reply that its author can correct. The text says precisely what is wrong, and what to do.

    People read the `fault` alone, because the `advice` is for the author.
    """

    def __init__(self, fault: str, advice: str = "") -> None:
        super().__init__(f"{fault}{'' if advice.startswith(chr(10)) else ' '}{advice}".rstrip())
        self.fault = fault


@dataclass(frozen=True)
class EditReply:
    """The edits in a reply. `words` are paths of `files` that may be mere titles, such as `Example`."""

    diffs: tuple[str, ...]
    files: dict[str, str]
    deleted: tuple[str, ...]
    loose: tuple[str, ...]
    words: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if nothing in the reply changes a file."""
        return not (self.diffs or self.files or self.deleted)


def parse_edits(text: str) -> EditReply:
    """Return the edits in a reply. `loose` holds the blocks that no path belongs to.

    Raises Unusable if a block is not closed, or if the reply can be read in two ways.
    """
    if not has_inner_fences(text):
        return _edits(_split(text))
    readings: list[EditReply] = []
    problem: Unusable | None = None
    for nested in (False, True):
        try:
            readings.append(_edits(_split(text, nested)))
        except Unusable as error:
            problem = problem or error
    whole = [reading for reading in readings if not reading.loose]
    candidates = whole or readings
    if not candidates:
        raise problem or Unusable("The blocks of the reply could not be read.")
    if any(reading != candidates[0] for reading in candidates):
        raise Unusable(
            "A block holds fences of its own, and it is not clear where it ends.",
            "Put it into a longer fence, such as ````, and answer again.",
        )
    return candidates[0]


def _split(text: str, nested: bool = False) -> Blocks:
    try:
        return split_blocks(text, nested)
    except TooMany as error:
        raise Unusable(f"The reply has {error}.", "Write only those that the task needs.") from error
    except UnclosedBlock as error:
        raise Unusable(
            f"The block that opens with `{error}` is never closed: was the reply cut off?",
            "Close every block with a fence of its own length.",
        ) from error


def _edits(reply: Blocks) -> EditReply:
    diffs: list[str] = []
    files: dict[str, str] = {}
    loose: list[str] = []
    words: list[str] = []
    for block in reply.blocks:
        path, certain = _path_above(block.before)
        if block.is_diff:
            diffs.append(block.text)
        elif path is None:
            loose.append(block.text)
        elif path in files and files[path] != block.text:
            raise Unusable(f"There are two blocks for {path}.", "Write one block with the whole file.")
        else:
            files[path] = block.text
            words += [] if certain else [path]
    deleted = tuple(match["path"] for line in reply.rest if (match := _DELETE.match(line.rstrip("\r"))))
    if moves := [line.strip() for line in reply.rest if _MOVE.match(line)]:
        raise Unusable(
            f"`{moves[0]}` is not understood.",
            "To rename a file, write a ```diff block with the lines `diff --git a/OLD b/NEW`, `rename from "
            "OLD` and `rename to NEW`. To change its mode, write `old mode 100644` and `new mode 100755` "
            "below the first line instead.",
        )
    if bare := _BARE_DIFF.search("\n".join(reply.rest)):
        if diffs or files or deleted:
            raise Unusable("A diff stands outside of a fenced block.", "Put every diff into a ```diff block.")
        diffs.append(bare[0].rstrip("\n") + "\n")  # some models forget the fence
    return EditReply(tuple(diffs), files, deleted, tuple(loose), tuple(words))


def join_cut(text: str, rest: str) -> str:
    """Return a reply that was cut, with its rest. Lines that the model repeats count once.

    A model may begin its rest with a fence, although the block of the reply is still open, or answer anew
    from the start. Raises Unusable if it begins a part of the reply anew.
    """
    rest = without_reasoning(rest)
    if _first_line(text) == _first_line(rest):
        return rest
    first, _, following = rest.lstrip("\n").partition("\n")
    fence = FENCE.match(first.rstrip("\r"))
    if fence and fence["info"].strip() and _is_open(text):
        rest = following
    rest = rest[len(_overlap(text, rest)) :]
    if _paths_in(text) & _paths_in(rest):
        raise Unusable("It was cut off, and its rest begins a part of it anew.", "Answer in fewer words.")
    return text + rest


def _paths_in(text: str) -> set[str]:
    """Return the paths in headings and in headers of diffs, wherever they stand."""
    paths = set[str]()
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            paths.add(_path_of(heading["title"])[0].removeprefix("./"))
        elif header := _HEADER.match(line):
            paths.add(header["path"])
    return paths - {"", "/dev/null"}


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _overlap(text: str, rest: str) -> str:
    """Return the last lines of `text` that `rest` begins with, if these are too many to be new."""
    lines = text.split("\n")
    for count in range(min(len(lines), _MOST_REPEATED), 0, -1):
        end = "\n".join(lines[-count:])
        characters = len("".join(end.split()))
        # A brace alone may be new, but hardly the start of the very line that was cut.
        if rest.startswith(end) and characters >= (2 if count == 1 else _FEWEST_REPEATED):
            return end
    return ""


def _is_open(text: str) -> bool:
    try:
        split_blocks(text)
    except UnclosedBlock:
        return True
    return False


def no_edit_reason(text: str, words: NoEdit) -> str:
    """Return the reason in a line `NO CHANGE: reason`, empty if the reply has no such line or holds edits."""
    match = _NO_EDIT[words].search(text)
    return match["reason"].strip() if match and parse_edits(text).is_empty else ""


def explanation(text: str) -> str:
    """Return the text before a reply's first block as one line, without headings."""
    words: list[str] = []
    for line in text.split("\n"):
        if FENCE.match(line.rstrip("\r")) or line.startswith(("--- ", "diff --git ")):
            break
        if not line.lstrip().startswith("#"):
            words += line.split()
    return " ".join(words)


def _path_above(before: Sequence[str]) -> tuple[str | None, bool]:
    """Return the path in the heading above a block, None without one, and whether it must be a path."""
    above = [line.rstrip("\r") for line in before[-2:] if line.strip()]
    heading = _HEADING.match(above[-1]) if above else None
    if heading is None or _DELETE.match(above[-1]):
        return None, False
    path, quoted = _path_of(heading["title"])
    if not path or path.endswith(".") or _VERSION.fullmatch(path):
        return None, False
    spaced = " " in path and not quoted
    certain = not spaced and ("/" in path or "." in path or bool(_NAMES_WITHOUT_DOT.fullmatch(path)))
    # With a blank line between heading and block, one word is a title rather than a path.
    touching = bool(before[-1].strip())
    return (path.removeprefix("./"), certain) if certain or touching or quoted else (None, False)


def _path_of(title: str) -> tuple[str, bool]:
    """Return the path in a heading without its decoration, and whether it is quoted. Empty without a path."""
    title = _VERB.sub("", _NUMBER.sub("", title.strip(), count=1), count=1).strip()
    title = _REMARK.sub("", title.removesuffix(":").rstrip(), count=1).removesuffix(":").rstrip()
    if quoted := _QUOTED_PATH.fullmatch(title):
        return quoted["path"].strip().removesuffix(":"), True
    plain = _PLAIN_PATH.fullmatch(title) or ("/" in title and _SPACED_PATH.fullmatch(title))
    return (title, False) if plain else ("", False)


def parse_json(text: str) -> dict[str, Any]:
    """Return the first JSON object of a reply, fenced or bare, with or without prose. Raises Unusable."""
    problem = "it holds no JSON object"
    for candidate in _candidates(text):
        value, fault = _first_object(candidate)
        if value is not None:
            return value
        problem = fault or problem
    raise Unusable(
        f"The reply could not be read: {problem}.", "Answer with one JSON object and nothing else."
    )


def _candidates(text: str) -> Iterator[str]:
    with suppress(UnclosedBlock):
        yield from (block.text for block in split_blocks(text).blocks if block.info.lower() in ("json", ""))
    yield text


def _first_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return the first JSON object, or None and the fault of the first brace."""
    # Models write bare newlines into strings.
    decoder = json.JSONDecoder(strict=False, parse_constant=refuse_constant)
    fault, at = "", -1
    for _ in range(_MOST_BRACES):
        at = text.find("{", at + 1)
        if at < 0:
            break
        try:
            value: dict[str, Any] = decoder.raw_decode(text, at)[0]
            check_json(value)
            return value, ""
        except json.JSONDecodeError as error:  # later braces are inside, and say less
            where = f"line {error.lineno}, column {error.colno}"
            fault = fault or f"its JSON does not parse: {error.msg} at {where}"
        except (RecursionError, ValueError) as error:  # a number of thousands of digits is a ValueError
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            return None, f"its JSON cannot be used: {reason}"
    return None, fault
