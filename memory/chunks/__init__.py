"""Cut files into chunks, by their syntax or by their lines."""

from memory.chunks.chunks import SUFFIXES, VERSION, Chunk, Chunker
from memory.chunks.grammars import has_grammar
from memory.chunks.parser import Parser
from memory.chunks.syntax_parts import SyntaxPart

__all__ = ["SUFFIXES", "VERSION", "Chunk", "Chunker", "Parser", "SyntaxPart", "has_grammar"]
