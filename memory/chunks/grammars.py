"""Grammars by suffix, and a parser with a time limit. Only the restricted process may parse."""

import importlib
import time
from functools import cache
from os.path import splitext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Node

GRAMMARS = {
    ".py": "python.language",
    ".pyi": "python.language",
    ".js": "javascript.language",
    ".jsx": "javascript.language",
    ".mjs": "javascript.language",
    ".cjs": "javascript.language",
    ".ts": "typescript.language_typescript",
    ".mts": "typescript.language_typescript",
    ".cts": "typescript.language_typescript",
    ".tsx": "typescript.language_tsx",
    ".go": "go.language",
    ".rs": "rust.language",
    ".java": "java.language",
}
SECONDS_PER_FILE = 0.5


def has_grammar(path: str) -> bool:
    """Return True if there is a grammar for a file."""
    return splitext(path)[1].lower() in GRAMMARS


def parse(path: str, data: bytes) -> "Node | None":
    """Parse a file, which may be broken code. Return None if it takes too long."""
    from tree_sitter import Parser

    # CPU time, so that a busy machine does not cut parsing short.
    deadline = time.process_time() + SECONDS_PER_FILE
    try:
        tree = Parser(_language(GRAMMARS[splitext(path)[1].lower()])).parse(
            lambda offset, _: data[offset : offset + 65536],
            progress_callback=lambda *_: time.process_time() > deadline,
        )
    except ValueError:  # the progress callback stopped the parser
        return None
    return tree.root_node


@cache
def _language(grammar: str) -> "Language":
    from tree_sitter import Language

    package, function = grammar.split(".")
    return Language(getattr(importlib.import_module(f"tree_sitter_{package}"), function)())
