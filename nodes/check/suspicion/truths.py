"""Comparisons that are true whatever is compared."""

import ast
from collections.abc import Iterator

from nodes.check.suspicion.walk import Function, Surroundings

TRUTHS = {"__eq__", "__bool__", "__hash__", "__contains__", "__le__", "__ge__", "__lt__", "__gt__"}


def always_true(node: ast.AST, around: Surroundings) -> Iterator[tuple[str, str]]:
    """Yield comparisons that are always true: a method, an assigned lambda, or an entry of a dictionary."""
    pairs: list[tuple[object, ast.expr | None]] = []
    if isinstance(node, ast.Dict):
        pairs = [
            (getattr(key, "value", None), value) for key, value in zip(node.keys, node.values, strict=True)
        ]
    elif isinstance(node, ast.Assign) and around.owner and not around.function:
        pairs = [(getattr(target, "id", None), node.value) for target in node.targets]
    for name, value in pairs:
        if name in TRUTHS and isinstance(value, ast.Lambda) and _always(value.body, around.owner):
            yield "truth", f"{name} always returns True, so that comparisons in tests succeed."
    if isinstance(node, Function) and node.name in TRUTHS and around.owner:
        returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
        if returned and all(value is not None and _always(value, around.owner) for value in returned):
            yield "truth", f"{around.owner}.{node.name} always returns True, so comparisons in tests succeed."


def _always(value: ast.expr, owner: str) -> bool:
    """Return whether an expression is true for everything, or for everything of another type."""
    match value:
        case ast.Constant(value=constant):
            return bool(constant)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=constant)):
            return not constant
        case ast.Call(func=ast.Name(id="bool"), args=[argument]):
            return _always(argument, owner)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id=type)]):
            return type != owner and type in (
                "int",
                "str",
                "float",
                "object",
                "list",
                "dict",
                "bytes",
                "tuple",
            )
    return False
