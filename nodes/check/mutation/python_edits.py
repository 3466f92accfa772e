"""Edits that break changed lines of a Python source, one place at a time, with its formatting kept."""

import ast
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from nodes.check.mutation.essence import (
    FunctionNode,
    function_effects,
    functions_of,
    generates,
    is_idle,
    name_of,
    parse,
    strip,
    telling_lines,
)
from nodes.check.mutation.novelty import new_nodes

MutantKind = Literal["body", "hunk", "detail", "constant", "name"]
"""A function's body, a hunk, an operator or statement, a constant, or a text that is assigned to a name."""

# An order is negated. `<=` for `<` often has no effect, and would alarm without need.
_OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", ">="),
    ast.LtE: ("<=", ">"),
    ast.Gt: (">", "<="),
    ast.GtE: (">=", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_ENVIRONMENT = {"version_info", "platform", "implementation"}  # of sys: their values do not vary here
_TUNING = {"timeout", "stacklevel", "maxsize", "max_workers", "chunksize", "buffering", "indent"}
_LARGE = 100
_SHOWN = 40
_LONGEST_LINE = 1_000  # in characters: longer lines are data, or generated


@dataclass(frozen=True)
class SourceEdit:
    """The replacement of a piece of text between two offsets. `unit` is the function around it, or empty."""

    start: int
    end: int
    text: str
    first: int
    last: int
    description: str
    unit: str
    kind: MutantKind


class PythonSource:
    """A Python source with its changed lines. Raises SyntaxError without a usable tree.

    Code that is in `base` too counts as unchanged, even if it moved to other lines or got a comment.
    """

    def __init__(self, text: str, changed: Sequence[int], base: str | None = None) -> None:
        tree = parse(text)
        if tree is None:
            raise SyntaxError("the source cannot be parsed")
        self._text = text
        self._lines = text.split("\n")
        self._changed = sorted(line for line in changed if len(self._lines[line - 1]) <= _LONGEST_LINE)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        # The essence has no docstrings, so the places of the bodies are taken before.
        self._bodies = {node: self._body(node) for node in ast.walk(tree) if isinstance(node, FunctionNode)}
        if not strip(tree):
            raise SyntaxError("the source is nested too deeply")
        self._functions = {name: node for name, node in functions_of(tree) if self._bodies[node]}
        self._names = {node: name for name, node in self._functions.items()}
        self._units = [""] * (len(self._lines) + 2)
        for name, node in self._functions.items():  # an inner function after the one around it
            last = (node.end_lineno or node.lineno) + 1
            self._units[node.lineno : last] = [name] * (last - node.lineno)
        self._tree = tree
        self._telling = telling_lines(tree)
        before = parse(base) if base else None
        if before and not strip(before):
            before = None
        self._new = new_nodes(tree, before)
        known = function_effects(before)
        touched = {self._units[line] for line in self._changed}
        self._same = {
            name for name, node in self._functions.items() if name in touched and ast.dump(node) in known
        }

    def unit_of(self, first: int, last: int) -> str:
        """Return the innermost function that holds these lines, or an empty text."""
        return self._units[first] if self._units[first] == self._units[last] else ""

    def is_within_body(self, first: int, last: int) -> bool:
        """Return whether the lines are part of one function's body, but not all of it."""
        node = self._functions.get(self.unit_of(first, last))
        if node is None or first <= node.lineno:
            return False
        start, end = self._lines_of(node)
        return start < first or last < end

    def bodies(self) -> Iterator[SourceEdit]:
        """Yield an edit for each function with changed lines of its own. It then returns nothing."""
        own: dict[str, int] = {}
        for line in self._changed:
            if line in self._telling and self._units[line] not in self._same:
                own[self._units[line]] = line
        for name, node in self._functions.items():
            if (
                own.get(name, 0) >= self._lines_of(node)[0]
                and not is_idle(node.body)
                and (place := self._bodies[node])
            ):
                start, end, generates = place
                text = "return; yield" if generates else "pass"
                first, last = self._lines_of(node)
                verb = "yields" if generates else "returns"
                yield SourceEdit(start, end, text, first, last, f"{name}() {verb} nothing", name, "body")

    def details(self) -> Iterator[SourceEdit]:
        """Yield edits of new code: operators, conditions, constants and whole statements."""
        ahead: list[tuple[ast.AST, str]] = [(self._tree, "")]
        while ahead:
            node, unit = ahead.pop()
            if isinstance(node, FunctionNode):
                unit = self._names.get(node, unit)
            if node not in self._new:
                continue
            for edit in self._edits(node, unit):
                if unit not in self._same and self._changed_within(edit.first, edit.last):
                    yield edit
            children = [child for child in ast.iter_child_nodes(node) if not _is_untold(node, child)]
            ahead += [(child, unit) for child in reversed(children)]

    def _edits(self, node: ast.AST, unit: str) -> Iterator[SourceEdit]:
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield from self._operator(left, operator, right, unit)
                for side in (left, right):
                    yield from self._string(side, unit, "constant")
            case ast.BoolOp(op=operator, values=[left, right, *_]):
                yield from self._operator(left, operator, right, unit)
            case ast.BinOp(left=left, op=operator, right=right):
                if not (isinstance(operator, ast.Mod) and isinstance(left, ast.Constant | ast.JoinedStr)):
                    yield from self._operator(left, operator, right, unit)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                start, end = self._at(node)[0], self._at(operand)[0]
                kept = self._text[start + 3 : end].lstrip() or " "
                yield self._edit(node, start, end, kept, f"`{self._shown(node)}` loses its not", unit)
            case ast.If(test=test) | ast.IfExp(test=test):
                if test in self._new and not isinstance(test, ast.Compare | ast.UnaryOp):
                    start, end = self._at(test)
                    text = f"not ({self._text[start:end]})"
                    yield self._edit(test, start, end, text, f"`{self._shown(test)}` is negated", unit)
            case ast.Return(value=ast.Constant() as value):
                yield from self._string(value, unit, "constant")
            case ast.Assign(value=ast.Constant() as value) | ast.AnnAssign(value=ast.Constant() as value):
                if not unit:
                    yield from self._string(value, unit, "name")
            case ast.Constant():
                yield from self._number(node, unit)
        if isinstance(node, ast.stmt) and _is_removable(node):
            yield self._edit(node, *self._at(node), "pass", f"`{self._shown(node)}` is removed", unit)

    def _operator(
        self, left: ast.expr, operator: ast.AST, right: ast.expr, unit: str
    ) -> Iterator[SourceEdit]:
        old, new = _OPERATORS.get(type(operator), ("", ""))
        start, end = self._at(left)[1], self._at(right)[0]
        gap = self._text[start:end]
        pattern = r"\s+".join(map(re.escape, old.split()))
        match = re.search(pattern, gap) if old and "#" not in gap and start >= 0 else None
        if match:
            place = start + match.start(), start + match.end()
            yield self._edit(right, *place, new, f"`{old}` becomes `{new}`", unit, left.end_lineno)

    def _number(self, node: ast.Constant, unit: str) -> Iterator[SourceEdit]:
        value = node.value
        if isinstance(value, bool):
            new = str(not value)
        elif isinstance(value, int | float):
            # A limit of a million that becomes a million and one would alarm without need.
            new = "0" if abs(value) > _LARGE else repr(value + 1)
        else:
            return
        description = f"`{self._shown(node)}` becomes `{new}`"
        yield self._edit(node, *self._at(node), new, description, unit, kind="constant")

    def _string(self, node: ast.expr, unit: str, kind: MutantKind) -> Iterator[SourceEdit]:
        if node in self._new and isinstance(node, ast.Constant) and isinstance(node.value, str):
            new = '""' if node.value else '"mutant"'
            description = f"`{self._shown(node)}` becomes `{new}`"
            yield self._edit(node, *self._at(node), new, description, unit, kind=kind)

    def _edit(
        self,
        node: ast.stmt | ast.expr,
        start: int,
        end: int,
        text: str,
        description: str,
        unit: str,
        first: int | None = None,
        kind: MutantKind = "detail",
    ) -> SourceEdit:
        last = node.end_lineno or node.lineno
        first = min(first or node.lineno, last)
        return SourceEdit(start, end, text, first, last, description, unit, kind)

    def _at(self, node: ast.stmt | ast.expr) -> tuple[int, int]:
        """Return the offsets of a node in the text. The tree counts columns in bytes."""
        end_line = node.end_lineno or node.lineno
        end_column = node.end_col_offset or node.col_offset
        return self._offset(node.lineno, node.col_offset), self._offset(end_line, end_column)

    def _offset(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        if not text.isascii():
            column = len(text.encode("utf-8", "replace")[:column].decode("utf-8", "replace"))
        return self._starts[line - 1] + column

    def _body(self, node: FunctionNode) -> tuple[int, int, bool] | None:
        """Return the offsets of a function's statements after its docstring, and whether it generates."""
        statements = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        if not statements:
            return None
        start, end = self._at(statements[0])[0], self._at(statements[-1])[1]
        decorators = getattr(statements[0], "decorator_list", [])
        if decorators:
            start = self._offset(decorators[0].lineno, statements[0].col_offset)
        return start, end, generates(node)

    def _lines_of(self, node: FunctionNode) -> tuple[int, int]:
        place = self._bodies[node]
        first = bisect_left(self._starts, place[0] + 1) if place else node.lineno
        return first, node.end_lineno or node.lineno

    def _changed_within(self, first: int, last: int) -> bool:
        at = bisect_left(self._changed, first)
        return at < len(self._changed) and self._changed[at] <= last

    def _shown(self, node: ast.stmt | ast.expr) -> str:
        start, end = self._at(node)
        text = " ".join(self._text[start : min(end, start + 4 * _SHOWN)].split())
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_untold(node: ast.AST, child: ast.AST) -> bool:
    """Return whether a child stays as it is.

    These are f-strings, comparisons with the environment, decorators, options of classes, tuning arguments.
    """
    if isinstance(child, ast.JoinedStr):  # Python 3.11 has no true positions inside them
        return True
    if isinstance(child, ast.Compare) and name_of(child.left) in _ENVIRONMENT:
        return True
    if isinstance(node, FunctionNode | ast.ClassDef):
        return child in node.decorator_list or isinstance(child, ast.keyword)
    return isinstance(child, ast.keyword) and child.arg in _TUNING


def _is_removable(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            return True
        case ast.Assign(targets=targets):
            return all(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
    return False
