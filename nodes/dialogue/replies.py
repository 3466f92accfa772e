"""Replies of models: edits in fenced blocks, and plans and verdicts as one JSON object."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$")
_HEADING = re.compile(
    r"^ {0,3}#{2,4}[ \t]+(?:[Ff]ile:[ \t]*)?(?P<quote>[`*]{0,3})(?P<path>\S(?:.*?\S)?)(?P=quote)[ \t]*$"
)
_DELETE = re.compile(r"^ {0,3}#{2,4}[ \t]+delete[ \t]+`?(?P<path>\S(?:.*?\S)?)`?[ \t]*$", re.IGNORECASE)
_DIFF = re.compile(r"\A\s*(?:diff --git .*\n(?:.*\n)*?)?(?:index .*\n)?--- \S.*\n\+\+\+ \S", re.MULTILINE)
_BARE_DIFF = re.compile(r"^--- \S.*\n\+\+\+ \S(?s:.*)", re.MULTILINE)
_REASONING = re.compile(r"<(/?)(think|thinking|reasoning)>")
_NO_EDIT = {
    "NO CHANGE": re.compile(r"^\W*NO[ _-]?CHANGES?\b\W*(?P<reason>\S.*)$", re.MULTILINE),
    "NO TESTS": re.compile(r"^\W*NO[ _-]?TESTS?\b\W*(?P<reason>\S.*)$", re.MULTILINE | re.IGNORECASE),
}


class Unusable(Exception):
    """A reply that its author can correct. The text says precisely what is wrong with it."""


@dataclass(frozen=True)
class EditReply:
    """The edits in a reply. `loose` holds blocks without a path."""

    diffs: tuple[str, ...]
    files: dict[str, str]
    deleted: tuple[str, ...]
    loose: tuple[str, ...]


@dataclass(frozen=True)
class _Block:
    info: str
    text: str
    before: list[str]


def without_reasoning(text: str) -> str:
    """Remove what a model thought before or between the parts of its answer, as `<think>…</think>`.

    Tags inside fenced blocks are content. A block of reasoning that is never closed reaches to the end.
    """
    before, orphan, after = text.partition("</think>")
    if orphan and "<think>" not in before and "```" not in before:
        text = after  # some servers swallow the opening tag
    kept: list[str] = []
    fence, tag = "", ""
    for line in text.splitlines(keepends=True):
        mark, start = _FENCE.match(line.rstrip("\r\n")), 0
        if mark and not tag:
            closes = bool(fence) and mark[1].startswith(fence) and not mark[2].strip()
            fence = "" if closes else fence or mark[1]
        elif not fence:
            for match in _REASONING.finditer(line):
                if not (tag or match[1]):
                    kept.append(line[start : match.start()])
                    tag = match[2]
                elif match[1] and match[2] == tag:
                    tag, start = "", match.end()
        kept.append("" if tag else line[start:])
    return "".join(kept)


def parse_edits(text: str) -> EditReply:
    """Return the edits in a reply. Raises Unusable if a block is not closed."""
    diffs: list[str] = []
    files: dict[str, str] = {}
    loose: list[str] = []
    rest: list[str] = []
    for block in _blocks(text, rest):
        path = _path_above(block.before)
        if block.info.lower() in ("diff", "patch") or (path is None and _DIFF.search(block.text)):
            diffs.append(block.text)
        elif path is None:
            loose.append(block.text)
        else:
            files[path] = block.text
    deleted = [match["path"] for line in rest if (match := _DELETE.match(line))]
    if not (diffs or files or deleted) and (bare := _BARE_DIFF.search("\n".join(rest))):
        diffs.append(bare[0].rstrip("\n") + "\n")  # some models forget the fence
    return EditReply(tuple(diffs), files, tuple(deleted), tuple(loose))


def no_edit_reason(text: str, words: Literal["NO CHANGE", "NO TESTS"]) -> str:
    """Return the reason in a line `NO CHANGE: reason`, empty if the reply has no such line or holds edits."""
    reply, match = parse_edits(text), _NO_EDIT[words].search(text)
    return match["reason"].strip() if match and not (reply.diffs or reply.files or reply.deleted) else ""


def _blocks(text: str, rest: list[str]) -> Iterator[_Block]:
    """Yield the fenced blocks verbatim, and add the lines outside them to `rest`."""
    lines = iter(text.split("\n"))
    for line in lines:
        opening = _FENCE.match(line.rstrip("\r"))
        if opening is None:
            rest.append(line)
            continue
        fence, info = opening.groups()
        body: list[str] = []
        for inner in lines:
            closing = _FENCE.match(inner.rstrip("\r"))
            if closing and closing[1].startswith(fence) and not closing[2].strip():
                break
            body.append(inner)
        else:
            raise Unusable(
                f"The block that opens with `{line.strip()}` is never closed: was the reply cut off? "
                "Close every block with a fence of its own length."
            )
        yield _Block(info.strip(), "".join(f"{part}\n" for part in body), list(rest))


def explanation(text: str) -> str:
    """Return the text before a reply's first block as one line, without headings."""
    words: list[str] = []
    for line in text.split("\n"):
        if _FENCE.match(line.rstrip("\r")) or line.startswith(("--- ", "diff --git ")):
            break
        if not line.lstrip().startswith("#"):
            words += line.split()
    return " ".join(words)


def _path_above(before: list[str]) -> str | None:
    """Return the path in the heading above a block, None if there is none."""
    above = [line for line in before[-2:] if line.strip()]
    heading = _HEADING.match(above[-1].rstrip("\r")) if above else None
    if heading is None or _DELETE.match(above[-1]):
        return None
    # With a blank line between heading and block, the heading must look like a path.
    path, touching = heading["path"], bool(before[-1].strip())
    likely = bool(heading["quote"]) or (("/" in path or "." in path) and not path.endswith((".", ":")))
    if " " in path and not heading["quote"]:
        return path if touching and "/" in path else None
    return path if likely or touching else None


def parse_json(text: str) -> dict[str, Any]:
    """Return the first JSON object of a reply, fenced or bare, with or without prose. Raises Unusable."""
    candidates = [text]
    with suppress(Unusable):
        candidates = [b.text for b in _blocks(text, []) if b.info.lower() in ("json", "")] + candidates
    decoder = json.JSONDecoder(strict=False)  # models write bare newlines into strings
    problem = "it holds no JSON object"
    for candidate in candidates:
        errors: list[json.JSONDecodeError] = []
        for brace in re.finditer(r"\{", candidate):
            try:
                value: dict[str, Any] = decoder.raw_decode(candidate, brace.start())[0]
                return value
            except json.JSONDecodeError as error:
                errors.append(error)
        if errors:
            first = errors[0]  # later braces are inside, and say less
            problem = f"its JSON does not parse: {first.msg} at line {first.lineno}, column {first.colno}"
    raise Unusable(f"The reply could not be read: {problem}. Answer with one JSON object and nothing else.")


def parse_verdict(text: str) -> tuple[bool, list[str]]:
    """Return whether the critic passes the change, and its reasons. Raises Unusable."""
    bare = re.match(r"\W*(PASS|FAIL)\b\W*(.*)", text, re.DOTALL)
    try:
        value = parse_json(text)
    except Unusable:
        if bare is None:
            raise
        reasons = [line.strip(" -*\t") for line in bare[2].splitlines() if line.strip(" -*\t")]
        return bare[1] == "PASS", reasons
    verdict, reasons = value.get("verdict"), value.get("reasons") or []
    if verdict not in ("PASS", "FAIL"):
        raise Unusable('"verdict" must be "PASS" or "FAIL".')
    if isinstance(reasons, str):
        reasons = [reasons]
    if not isinstance(reasons, list) or (verdict == "FAIL" and not reasons):
        raise Unusable('"reasons" must be a list of sentences; a FAIL needs at least one.')
    return verdict == "PASS", [str(reason) for reason in reasons]
