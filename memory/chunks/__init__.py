"""Files as chunks: what their syntax tells apart, or their lines where no grammar knows them."""

from memory.chunks.chunker import SUFFIXES, Chunker
from memory.chunks.chunks import VERSION, Chunk
from memory.chunks.grammars import has_grammar
from memory.chunks.parser import Parser

__all__ = ["SUFFIXES", "VERSION", "Chunk", "Chunker", "Parser", "has_grammar"]
