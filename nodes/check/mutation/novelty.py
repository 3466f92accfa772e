"""The code of a change that its base does not have, compared as syntax trees."""

import ast

from nodes.check.mutation.essence import FunctionNode, name_of
from tools.workspace import line_changes

_CONTEXT = 80
"""Characters of a label as far as it names the surroundings of a node."""

# The parser makes one node of each of these, so none has a place.
_OPERATORS = ast.operator | ast.boolop | ast.unaryop
_SHARED = _OPERATORS | ast.cmpop | ast.expr_context

_Entry = tuple[ast.AST, ast.AST | None, str]


def new_nodes(tree: ast.Module, base: ast.Module | None) -> set[ast.AST]:
    """Return the nodes of a stripped tree that are code which `base` lacks, or hold such code.

    The trees are compared as lists of nodes, so code that only moved to other lines is not new.
    """
    entries = _entries(tree)
    if base is None:
        return {node for node, _, _ in entries}
    # The diff of git is fast, and safe for hostile texts. Each node is a line of its own.
    hunks = line_changes(_text(_entries(base)), _text(entries))
    lines = {line for hunk in hunks for line in hunk.added}
    new: set[ast.AST] = set()
    for number, (node, parent, _) in reversed([*enumerate(entries, 1)]):  # children before their parents
        if number in lines:
            new.add(node)
        if node in new and parent is not None:
            new.add(parent)
    return new


def _text(entries: list[_Entry]) -> bytes:
    return "".join(f"{text}\n" for _, _, text in entries).encode()


def _entries(tree: ast.Module) -> list[_Entry]:
    """Return each node with its parent and a text of both, in the order of the source."""
    entries: list[_Entry] = []
    ahead: list[tuple[ast.AST, ast.AST | None, str, str]] = [(tree, None, "", "")]
    while ahead:
        node, parent, above, scope = ahead.pop()
        label = _label(node)
        entries.append((node, parent, f"{label} {above}"))
        short = label[:_CONTEXT]
        if isinstance(node, FunctionNode | ast.ClassDef):
            scope = short
        # A statement that is moved into an `if` or `try` is the same code, so only its function is named.
        inside = short if isinstance(node, ast.stmt) else f"{short} {above[:_CONTEXT]}"
        for child in reversed([*ast.iter_child_nodes(node)]):
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                ahead.append((child, node, scope, scope))
            elif not isinstance(child, _SHARED):
                ahead.append((child, node, inside, scope))
    return entries


def _label(node: ast.AST) -> str:
    """Return a text of the node itself: its type, names, values and operators."""
    parts = [type(node).__name__]
    match node:
        case ast.Constant(value=value):
            # A long number cannot be printed in decimal.
            parts.append(hex(value) if type(value) is int else ascii(value))
        case (
            ast.Call(func=named)
            | ast.Expr(value=named)
            | ast.Raise(exc=named)
            | ast.Assign(targets=[named, *_])
            | ast.AugAssign(target=named)
        ):
            parts.append(name_of(named))
        case ast.Compare(ops=operators):
            parts += [type(operator).__name__ for operator in operators]
    for _, value in ast.iter_fields(node):
        if isinstance(value, _OPERATORS):
            parts.append(type(value).__name__)
        elif isinstance(value, str) and not isinstance(node, ast.Constant):
            parts.append(value)
    return " ".join(parts)
