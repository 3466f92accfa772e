"""Cut a file by its syntax into functions, methods, class heads and the rest of the module."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memory.chunks.definitions import BEFORE, HOLDERS, VALUES

if TYPE_CHECKING:
    from tree_sitter import Node

SyntaxPart = tuple[str, list[tuple[int, int]]]
"""A symbol (empty for the rest of a module) and its byte ranges."""

_FUNCTIONS = {
    "compact_constructor_declaration", "constructor_declaration", "function_declaration",
    "function_definition", "function_item", "generator_function_declaration", "macro_definition",
    "method_declaration", "method_definition",
}  # fmt: skip
_TYPES = {"enum_item", "struct_item", "type_spec", "union_item"}
_BINDINGS = {
    "assignment_expression": ("left", "right"),
    "field_definition": ("property", "value"),
    "pair": ("key", "value"),
    "public_field_definition": ("name", "value"),
    "variable_declarator": ("name", "value"),
}
"""Nodes that give a name to a value, with the fields of name and value."""
_AROUND = {
    "ERROR", "ambient_declaration", "decorated_definition", "else_clause", "enum_body_declarations",
    "except_clause", "export_statement", "expression_statement", "finally_clause", "if_statement",
    "lexical_declaration", "try_statement", "type_declaration", "variable_declaration",
}  # fmt: skip
"""Nodes that may hold a definition without being one."""
_BLOCKS = {"block", "statement_block"}
_LEADING = BEFORE | {"attribute_item", "block_comment", "line_comment"}
_DEPTH = 20


def syntax_parts(root: "Node", data: bytes) -> list[SyntaxPart]:
    """Return the parts of a file, starting with what belongs to no definition."""
    walk = _Walk(data)
    rest = walk.inside(root, 0, len(data), "", 0)
    return [("", rest), *walk.parts]


@dataclass
class _Walk:
    data: bytes
    parts: list[SyntaxPart] = field(default_factory=list)

    def inside(self, node: "Node", start: int, end: int, prefix: str, depth: int) -> list[tuple[int, int]]:
        """Collect the definitions within `node`. Return what remains between `start` and `end`."""
        rest = []
        for outer, begin in _definitions(node, depth):
            name = _name(self.data, outer)
            symbol = f"{prefix}.{name}" if prefix and name else name or prefix
            self._define(outer, max(begin, start), symbol, depth)
            if begin > start:
                rest.append((start, begin))
            start = max(start, outer.end_byte)
        return [*rest, (start, end)] if end > start else rest

    def _define(self, node: "Node", begin: int, symbol: str, depth: int) -> None:
        body = _body(node)
        if body is None or depth >= _DEPTH:
            self.parts.append((symbol, [(begin, node.end_byte)]))
            return
        place = len(self.parts)
        self.parts.insert(place, (symbol, self.inside(body, begin, node.end_byte, symbol, depth + 1)))


def _definitions(node: "Node", depth: int) -> Iterator[tuple["Node", int]]:
    """Yield definitions within a node, each with the start of the comments and decorators before it."""
    begin: int | None = None
    for child in node.children:
        if child.type in _LEADING:
            begin = child.start_byte if begin is None else begin
            continue
        if _is_definition(child):
            yield child, child.start_byte if begin is None else begin
        elif (child.type in _AROUND or child.type in _BLOCKS) and depth < _DEPTH:
            inner = list(_definitions(child, depth + 1))
            for number, (definition, start) in enumerate(inner):
                opening = child.start_byte if begin is None else begin
                yield definition, start if number or child.type in _BLOCKS else opening
        begin = None


def _is_definition(node: "Node") -> bool:
    if node.type in HOLDERS or node.type in _FUNCTIONS or node.type in _TYPES:
        return node.is_named
    value = _value(node)
    return value is not None and (value.type in VALUES or _is_api(value))


def _value(node: "Node") -> "Node | None":
    names = _BINDINGS.get(node.type)
    return node.child_by_field_name(names[1]) if names else None


def _is_api(node: "Node") -> bool:
    """Return True if a value is an object with functions in it."""
    return node.type == "object" and any(_is_definition(child) for child in node.named_children)


def _body(node: "Node") -> "Node | None":
    """Return the node with a definition's members, if it can have any."""
    value = _value(node) or node
    if value.type == "object":
        return value
    return value.child_by_field_name("body") if value.type in HOLDERS else None


def _name(data: bytes, node: "Node") -> str:
    fields = _BINDINGS.get(node.type)
    if node.type == "impl_item":
        name = node.child_by_field_name("type")
        name = name and (name.child_by_field_name("type") or name)
    else:
        name = node.child_by_field_name(fields[0] if fields else "name")
    text = _text(data, name)
    receiver = node.child_by_field_name("receiver")
    return f"{_receiver(data, receiver)}.{text}" if receiver is not None else text


def _receiver(data: bytes, node: "Node") -> str:
    """Return the name of the type that a Go method belongs to."""
    while node.type != "type_identifier":
        inner = node.child_by_field_name("type") or next(iter(node.named_children), None)
        if inner is None:
            break
        node = inner
    return _text(data, node)


def _text(data: bytes, node: "Node | None") -> str:
    if node is None:
        return ""
    text = data[node.start_byte : node.end_byte].decode("utf-8", "replace")
    return "".join(text.split())[:80].removeprefix("module.").removeprefix("exports.")
