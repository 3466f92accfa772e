"""The examples in docstrings, which `--doctest-modules` runs as tests."""

import ast
from collections.abc import Iterator

_LONGEST = 500_000
_PROMPT = ">>>"
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def with_base_examples(base: str, head: str) -> str:
    """Return the source `head` with the docstrings of `base` that hold examples and that it edits."""
    if _PROMPT not in base or max(len(base), len(head)) > _LONGEST:
        return head
    try:
        before, after = dict(_docstrings(base)), dict(_docstrings(head))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # deep nesting raises the last two
        return head
    source = head.encode()
    starts = [0]
    for line in source.split(b"\n"):  # as Python counts lines; other line ends are a part of the text
        starts.append(starts[-1] + len(line) + 1)
    edits = [
        (
            starts[new.lineno - 1] + new.col_offset,
            starts[(new.end_lineno or 1) - 1] + (new.end_col_offset or 0),
            old,
        )
        for name, new in after.items()
        if (old := before.get(name)) and _PROMPT in str(old.value) and old.value != new.value
    ]
    for start, end, old in sorted(edits, key=lambda edit: edit[0], reverse=True):
        source = source[:start] + (ast.get_source_segment(base, old) or "").encode() + source[end:]
    return source.decode()


def _docstrings(source: str) -> Iterator[tuple[str, ast.Constant]]:
    """Yield each docstring under the dotted name of its owner."""
    ahead: list[tuple[str, _Documented]] = [("", ast.parse(source))]
    while ahead:
        name, owner = ahead.pop()
        match owner.body[:1]:
            case [ast.Expr(value=ast.Constant(value=str()) as docstring)]:
                yield name, docstring
        ahead += [
            (f"{name}.{node.name}", node)
            for node in owner.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
