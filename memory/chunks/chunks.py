"""Chunks: pieces of files that are indexed and found on their own."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os.path import splitext

from memory.chunks.grammars import has_grammar
from memory.chunks.parser import Parser
from memory.chunks.syntax_parts import SyntaxPart

SUFFIXES = {
    ".py", ".js", ".jsx", ".mjs", ".ts", ".tsx", ".go", ".rs", ".java",
    ".rb", ".c", ".h", ".cpp", ".cs", ".kt", ".php", ".md", ".toml",
}  # fmt: skip
"""Files that are indexed."""
VERSION = 1
"""Changes with the way chunks are made, so that indexes of another version are rebuilt."""
SIZE = 900
"""Longest text of a chunk, in characters. An outline may have twice as many."""
_MINIFIED = 400
"""Mean length of a line from which a file counts as generated."""
_MINIFIED_CHUNKS = 4
"""Chunks that such a file gets at most."""
_HEADING = re.compile(r"^#{1,6}\s+(.*)")


@dataclass(frozen=True)
class Chunk:
    """Lines `first` to `last` (from 1) of a file. An outline spans the file and has a text of its own."""

    symbol: str
    first: int
    last: int
    text: str
    outline: bool = False


NumberedLine = tuple[int, str]


class Chunker:
    """Cuts files with a parser of its own. One thread at a time may use it."""

    def __init__(self) -> None:
        self._parser = Parser()

    def chunks(self, path: str, text: str) -> list[Chunk]:
        """Cut a file by its syntax, or by headings or lines if it has no grammar or the parser fails."""
        if has_grammar(path) and not _is_minified(text):
            outline, parts = self._parser.parse(path, text)
            if parts:
                return _syntax_chunks(text, outline, parts)
        return _text_chunks(text, headings=splitext(path)[1].lower() == ".md")

    def close(self) -> None:
        """Stop the parser's process."""
        self._parser.close()


def _syntax_chunks(text: str, outline: list[str], parts: list[SyntaxPart]) -> list[Chunk]:
    """Make a chunk of the outline and chunks of the syntax parts."""
    data = text.encode("utf-8", "replace")
    starts = [0, *(match.end() for match in re.finditer(rb"\n", data))]
    chunks = [Chunk("", 1, len(starts), "\n".join(outline)[: 2 * SIZE], outline=True)] if outline else []
    for symbol, ranges in parts:
        chunks += _windows(symbol, _lines(data, starts, ranges))
    return chunks if any(not chunk.outline for chunk in chunks) or not text.strip() else _text_chunks(text)


def _text_chunks(text: str, headings: bool = False) -> list[Chunk]:
    """Make chunks of lines, with Markdown's headings as symbols if `headings` is true."""
    lines = list(enumerate(text.split("\n"), 1))
    if _is_minified(text):
        return list(_windows("", lines))[:_MINIFIED_CHUNKS]
    return [chunk for symbol, section in _sections(lines, headings) for chunk in _windows(symbol, section)]


def _is_minified(text: str) -> bool:
    """Return True if a file was generated or minified."""
    return len(text) > _MINIFIED * (text.count("\n") + 10)


def _lines(data: bytes, starts: list[int], ranges: Iterable[tuple[int, int]]) -> list[NumberedLine]:
    """Return the lines of some byte ranges with their numbers."""
    numbered: list[NumberedLine] = []
    for start, end in ranges:
        number = bisect_right(starts, start)
        # The indentation before a range belongs to its first line.
        before = data[starts[number - 1] : start]
        piece = (b"" if before.strip() else before) + data[start:end]
        lines = piece.decode("utf-8", "replace").split("\n")
        numbered += [(number + offset, line.rstrip()) for offset, line in enumerate(lines) if line.strip()]
    return numbered


def _sections(lines: list[NumberedLine], headings: bool) -> Iterator[tuple[str, list[NumberedLine]]]:
    symbol, section = "", list[NumberedLine]()
    for number, line in lines:
        if headings and (match := _HEADING.match(line)):
            yield symbol, section
            symbol, section = match[1].rstrip().rstrip("#").rstrip()[:80], []
        section.append((number, line))
    yield symbol, section


def _windows(symbol: str, lines: list[NumberedLine]) -> Iterator[Chunk]:
    """Cut lines into chunks of SIZE characters at most."""
    window: list[NumberedLine] = []
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


def _chunk(symbol: str, lines: list[NumberedLine]) -> Iterator[Chunk]:
    filled = [place for place, (_, line) in enumerate(lines) if line.strip()]
    if filled:
        lines = lines[filled[0] : filled[-1] + 1]
        yield Chunk(symbol, lines[0][0], lines[-1][0], "\n".join(line for _, line in lines))
