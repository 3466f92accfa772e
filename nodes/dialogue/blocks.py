"""Fenced blocks of a reply, with the lines outside them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nodes.llm.fences import FENCE
from tools.patch.parse import MOST_LINES

_DIFF = re.compile(r"^\s*(?:diff --git |index |---[ \t]+\S)")
_MOST_BLOCKS = 10_000
_DIFF_INFO = ("diff", "patch", "udiff")


class UnclosedBlock(Exception):
    """A block has no closing fence. The text is the line that opens it."""


class TooMany(UnclosedBlock):
    """A reply has more blocks or lines than anybody writes."""


@dataclass(frozen=True)
class Block:
    """A fenced block. `before` are the lines outside of blocks that precede it, the last one nearest."""

    info: str
    text: str
    before: Sequence[str]

    @property
    def is_diff(self) -> bool:
        """True if the block says or looks as if it is a diff."""
        return self.info.lower() in _DIFF_INFO or bool(re.match(_DIFF, self.text) and "\n+++ " in self.text)


@dataclass(frozen=True)
class Blocks:
    """The blocks of a reply and its other lines."""

    blocks: tuple[Block, ...]
    rest: tuple[str, ...]


def split_blocks(text: str, nested: bool = False) -> Blocks:
    """Return the blocks of a reply. Raises UnclosedBlock, also for one with too many blocks or lines.

    In a nested reading, a fence with a language inside a block opens an inner block, and the next bare fence
    closes that. Otherwise the first bare fence closes the block, as in Markdown.
    """
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        raise TooMany(f"more than {MOST_LINES:,} lines")
    blocks: list[Block] = []
    rest: list[str] = []
    at = 0
    while at < len(lines):
        opening = FENCE.match(lines[at].rstrip("\r"))
        if opening is None:
            rest.append(lines[at])
            at += 1
            continue
        if len(blocks) == _MOST_BLOCKS:
            raise TooMany(f"more than {_MOST_BLOCKS:,} blocks")
        end = _closing(lines, at, opening, nested)
        body = _without_indent(lines[at + 1 : end], opening["indent"])
        content = "".join(f"{line}\n" for line in body)
        blocks.append(Block(opening["info"].strip(), content, tuple(rest[-2:])))
        at = end + 1
    return Blocks(tuple(blocks), tuple(rest))


def has_inner_fences(text: str) -> bool:
    """Return whether a block of the reply has a line that could open a block inside it."""
    try:
        blocks = split_blocks(text).blocks
    except UnclosedBlock:
        return True
    return any(
        (fence := FENCE.match(line)) and fence["info"].strip()
        for block in blocks
        if not block.is_diff
        for line in block.text.split("\n")
    )


def _closing(lines: Sequence[str], start: int, opening: re.Match[str], nested: bool) -> int:
    """Return the line of the closing fence. It is no deeper than the opening one.

    A deeper one belongs to the content: to a list in Markdown, or to the context of a diff.
    """
    depth = 1
    for at in range(start + 1, len(lines)):
        fence = FENCE.match(lines[at].rstrip("\r"))
        if fence is None or not fence["fence"].startswith(opening["fence"]):
            continue
        if fence["info"].strip():
            depth += nested and len(fence["fence"]) == len(opening["fence"])
        elif depth > 1 or len(fence["indent"]) <= len(opening["indent"]):
            depth -= 1
        if not depth:
            return at
    raise UnclosedBlock(lines[start].strip())


def _without_indent(lines: Sequence[str], indent: str) -> Sequence[str]:
    """Remove the indentation of a fence in a list, if all its lines have it too."""
    if not indent or not all(line.startswith(indent) for line in lines if line.strip()):
        return lines
    return [line.removeprefix(indent) for line in lines]
