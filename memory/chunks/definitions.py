"""Find the definitions in a syntax tree and write a line for each in an outline."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

HOLDERS = {
    "abstract_class_declaration", "annotation_type_declaration", "class", "class_declaration",
    "class_definition", "enum_declaration", "impl_item", "interface_declaration", "internal_module",
    "mod_item", "module", "record_declaration", "trait_item",
}  # fmt: skip
"""Definitions whose members are listed."""
PLAIN = {
    "enum_item", "function_declaration", "function_definition", "function_item", "function_signature",
    "function_signature_item", "generator_function_declaration", "macro_definition",
    "method_declaration", "struct_item", "type_alias", "type_alias_declaration", "type_item",
    "type_spec", "union_item",
}  # fmt: skip
_MEMBERS = HOLDERS | PLAIN | {
    "abstract_method_signature", "compact_constructor_declaration", "constructor_declaration",
    "method_definition", "method_elem", "method_signature", "property_signature",
}  # fmt: skip
VALUES = {"arrow_function", "class", "function_expression", "generator_function"}
"""Values that make a definition of the variable that they are assigned to."""
ASSIGNING = {"expression_statement", "lexical_declaration", "variable_declaration"}
WRAPPERS = {
    "ERROR", "ambient_declaration", "decorated_definition", "enum_body_declarations", "export_statement",
    "expression_statement", "type_declaration",
}  # fmt: skip
BEFORE = {"annotation", "comment", "decorator", "marker_annotation"}
"""Nodes before a definition that are not part of its signature."""
_GO_TYPES = {"type_alias", "type_spec"}
_BODIES = {"field_declaration_list", "{", "(", "["}
"""Nodes that end a signature if the grammar names no `body`."""

SIGNATURE_LENGTH = 200
MEMBERS_SHOWN = 40


def outline(root: "Node", data: bytes) -> list[str]:
    """List the top-level definitions of a file. Broken code gives what can be recognised."""
    return [_line(data, *pair) for pair in _definitions(root)]


def _definitions(node: "Node") -> Iterator[tuple["Node", "Node"]]:
    """Yield definitions, each with the node that its signature starts with."""
    for child in node.children:
        if child.type in HOLDERS or child.type in PLAIN:
            yield child, child
        elif child.type in VALUES and node.type == "export_statement":
            yield child, node
        elif child.type in ASSIGNING:
            yield from ((value, child) for value in _assigned(child))
        if child.type in WRAPPERS:
            yield from _definitions(child)


def _assigned(statement: "Node") -> Iterator["Node"]:
    for child in statement.named_children:
        value = child.child_by_field_name("value") or child.child_by_field_name("right")
        if value is not None and value.type in VALUES:
            yield value


def _line(data: bytes, node: "Node", outer: "Node") -> str:
    end, holder = _extent(node)
    words = _text(data, outer, _first(outer).start_byte, end).decode("utf-8", "replace").split()
    if node.type in _GO_TYPES:
        words.insert(0, "type")
    signature = " ".join(words).rstrip(" :;{")
    if len(signature) > SIGNATURE_LENGTH:
        signature = signature[:SIGNATURE_LENGTH] + "…"
    names = [name.decode("utf-8", "replace") for name in _names(data, holder)] if holder else []
    if names[MEMBERS_SHOWN:]:
        names[MEMBERS_SHOWN:] = ["…"]
    line = f"{signature}: {', '.join(names)}" if names else signature
    # A control character in hostile code could rewrite a terminal or a prompt.
    return "".join(char if char.isprintable() else " " for char in line)


def _text(data: bytes, node: "Node", start: int, end: int) -> bytes:
    """Return a part of the text of `node` without comments."""
    text = b""
    for comment in _comments(node, start, end):
        text += data[start : comment.start_byte]
        start = comment.end_byte
    return text + data[start:end]


def _comments(node: "Node", start: int, end: int) -> Iterator["Node"]:
    for child in node.children:
        if child.end_byte <= start or child.start_byte >= end:
            continue
        if "comment" in child.type:
            yield child
        else:
            yield from _comments(child, start, end)


def _first(node: "Node") -> "Node":
    """Return the first child that is no decorator, annotation or comment."""
    for child in node.children:
        if child.type == "modifiers":
            if any(inner.type not in BEFORE for inner in child.children):
                return _first(child)
        elif child.type not in BEFORE:
            return child
    return node


def _extent(node: "Node") -> tuple[int, "Node | None"]:
    """Return the end of a signature in bytes, and the node with the members that are listed."""
    shape = node.child_by_field_name("type") if node.type in _GO_TYPES else node
    body = node.child_by_field_name("body")
    if body is None and shape is not None:
        body = next((child for child in shape.children if child.type in _BODIES), None)
    end = body.start_byte if body else node.end_byte
    if shape is not None and shape.type == "interface_type":
        return end, shape
    return end, body if node.type in HOLDERS else None


def _names(data: bytes, holder: "Node") -> Iterator[bytes]:
    for child in holder.named_children:
        name = child.child_by_field_name("name")
        if child.type in _MEMBERS and name is not None:
            yield data[name.start_byte : name.end_byte]
        elif child.type in WRAPPERS:
            yield from _names(data, child)
