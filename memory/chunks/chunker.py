"""Cuts files, by whatever their suffix allows."""

from os.path import splitext

from memory.chunks.chunks import Chunk, is_minified, syntax_chunks, text_chunks
from memory.chunks.grammars import has_grammar
from memory.chunks.parser import Parser

SYNTAX = {".py", ".js", ".jsx", ".mjs", ".ts", ".tsx", ".go", ".rs", ".java"}
PLAIN = {".rb", ".c", ".h", ".cpp", ".cs", ".kt", ".php", ".md", ".toml"}
SUFFIXES = SYNTAX | PLAIN


class Chunker:
    """Cuts files with a parser of its own; for one thread at a time."""

    def __init__(self) -> None:
        self._parser = Parser()

    def chunks(self, path: str, text: str) -> list[Chunk]:
        """Cut a file; one that breaks its grammar is cut by lines."""
        if has_grammar(path) and not is_minified(text):
            parsed = self._parser.parse(path, text)
            if parsed and parsed.parts:
                return syntax_chunks(text, parsed)
        return text_chunks(text, headings=splitext(path)[1].lower() == ".md")

    def close(self) -> None:
        """End the parser's process."""
        self._parser.close()
