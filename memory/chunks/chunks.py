"""Pieces of files that are worth finding on their own."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from memory.chunks.parser import Parsed

VERSION = 1
"""Another one means that chunks are made differently, so that what was indexed has to be made anew."""
SIZE = 900
"""Characters that a chunk's text has at most, an outline's twice as many."""
_MINIFIED = 400
"""Characters that the lines of a generated file have on average."""
_FEW = 4
"""Chunks that such a file gets."""
_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*\s*$")


@dataclass(frozen=True)
class Chunk:
    """Lines `first` to `last` (from 1) of a file; an outline has the file's lines and a text of its own."""

    symbol: str
    first: int
    last: int
    text: str
    outline: bool = False


Line = tuple[int, str]


def syntax_chunks(text: str, parsed: Parsed) -> list[Chunk]:
    """Make chunks of the parts that a parser told apart, and one of the outline."""
    data = text.encode("utf-8", "replace")
    starts = [0, *(match.end() for match in re.finditer(rb"\n", data))]
    chunks = [_outline(parsed.outline, len(starts))] if parsed.outline else []
    for symbol, ranges in parsed.parts:
        chunks += _windows(symbol, _lines(data, starts, ranges))
    return chunks if any(not chunk.outline for chunk in chunks) or not text.strip() else text_chunks(text)


def text_chunks(text: str, headings: bool = False) -> list[Chunk]:
    """Make chunks of lines, with `headings` as symbols (Markdown's)."""
    lines = list(enumerate(text.split("\n"), 1))
    if is_minified(text):
        return list(_windows("", lines))[:_FEW]
    return [chunk for symbol, section in _sections(lines, headings) for chunk in _windows(symbol, section)]


def is_minified(text: str) -> bool:
    """Tell whether a file was written by a program for programs."""
    return len(text) > _MINIFIED * (text.count("\n") + 10)


def _outline(definitions: list[str], lines: int) -> Chunk:
    return Chunk("", 1, lines, "\n".join(definitions)[: 2 * SIZE], outline=True)


def _lines(data: bytes, starts: list[int], ranges: Iterable[tuple[int, int]]) -> list[Line]:
    """Give the lines of some byte ranges, each with its number."""
    found: list[Line] = []
    for start, end in ranges:
        number = bisect_right(starts, start)
        before = data[starts[number - 1] : start]
        piece = (b"" if before.strip() else before) + data[start:end]
        lines = piece.decode("utf-8", "replace").split("\n")
        found += [(number + offset, line.rstrip()) for offset, line in enumerate(lines) if line.strip()]
    return found


def _sections(lines: list[Line], headings: bool) -> Iterator[tuple[str, list[Line]]]:
    symbol, section = "", list[Line]()
    for number, line in lines:
        if headings and (match := _HEADING.match(line)):
            yield symbol, section
            symbol, section = match[1][:80], []
        section.append((number, line))
    yield symbol, section


def _windows(symbol: str, lines: list[Line]) -> Iterator[Chunk]:
    """Cut lines into texts of SIZE at most."""
    window: list[Line] = []
    length = 0
    for number, line in lines:
        for start in range(0, max(len(line), 1), SIZE):
            piece = line[start : start + SIZE]
            if window and length + len(piece) > SIZE:
                yield from _chunk(symbol, window)
                window, length = [], 0
            window.append((number, piece))
            length += len(piece) + 1
    yield from _chunk(symbol, window)


def _chunk(symbol: str, lines: list[Line]) -> Iterator[Chunk]:
    filled = [place for place, (_, line) in enumerate(lines) if line.strip()]
    if filled:
        lines = lines[filled[0] : filled[-1] + 1]
        yield Chunk(symbol, lines[0][0], lines[-1][0], "\n".join(line for _, line in lines))
