"""Python syntax trees without what no test can notice, such as annotations and log messages."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence

LONGEST_SOURCE = 200_000
"""Longer sources, in characters, get no mutants. Each mutant costs a parse of the whole file."""

_LOG_LEVELS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "log"}
_LOGGER = re.compile(r"(?i)(?:^|_)log(?:ger|ging)?$")
_METADATA = {"__all__", "__version__", "__author__", "__license__", "version", "VERSION"}
_UNRUN = {"abstractmethod", "overload"}

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def parse(text: str, strict: bool = False) -> ast.Module | None:
    """Return the tree of a source, or None if it is no Python or too long.

    `strict` compiles it too, which finds a `return` outside functions. It doubles the time.
    """
    if len(text) > LONGEST_SOURCE or re.search(r"\r(?!\n)", text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            if strict:
                compile(text, "source", "exec", dont_inherit=True)
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def strip(tree: ast.Module) -> bool:
    """Reduce a tree in place to its essence. Return False if it is too deep."""
    try:
        _Stripper().visit(tree)
    except RecursionError:
        return False
    return True


def essence(text: str) -> str | None:
    """Return a text that is equal for sources which no test can tell apart, or None without a tree."""
    tree = parse(text, strict=True)
    if tree is None or not strip(tree):
        return None
    try:
        return ast.dump(tree)
    except (ValueError, RecursionError):  # a number that is too long to print
        return None


def function_effects(tree: ast.Module | None) -> set[str]:
    """Return a text for each function of a stripped tree, equal for those that no test can tell apart."""
    return {ast.dump(node) for _, node in functions_of(tree)} if tree else set()


def is_idle(body: Sequence[ast.stmt]) -> bool:
    """Return whether a stripped body does nothing but return None."""
    return all(
        isinstance(each, ast.Pass)
        or (isinstance(each, ast.Return) and (each.value is None or _is_none(each.value)))
        for each in body
    )


def name_of(node: ast.expr | None) -> str:
    """Return the last name of a dotted expression, of a call's function, or of a subscripted value."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def telling_lines(tree: ast.Module) -> set[int]:
    """Return the lines of a stripped tree that a test may notice, not those of comments and docstrings."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        first = getattr(node, "lineno", 0)  # nodes that the essence put in have no place
        if isinstance(node, ast.Constant):
            lines.update(range(first, (node.end_lineno or first) + 1))
        elif isinstance(node, ast.expr):
            lines |= {first, node.end_lineno or first}
        elif isinstance(node, ast.stmt) and not isinstance(node, FunctionNode | ast.ClassDef):
            lines.add(first)
    return lines


def functions_of(tree: ast.Module) -> Iterator[tuple[str, FunctionNode]]:
    """Yield every function with its dotted name. A repeated name gets its line."""
    seen: set[str] = set()
    ahead: list[tuple[ast.AST, str]] = [(tree, "")]
    while ahead:
        node, prefix = ahead.pop()
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, FunctionNode | ast.ClassDef):
                name = f"{prefix}.{child.name}".lstrip(".")
            if isinstance(child, FunctionNode):
                name = name if name not in seen else f"{name}:{child.lineno}"
                seen.add(name)
                yield name, child
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                ahead.append((child, name))


def generates(function: FunctionNode) -> bool:
    """Return whether the function itself holds a yield, not a function inside it."""
    ahead: list[ast.AST] = list(function.body)
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef):
            ahead += ast.iter_child_nodes(node)
    return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


class _Stripper(ast.NodeTransformer):
    """Removes docstrings, annotations, imports, log calls, assertions and metadata."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and not body:
            body.append(ast.Pass())
        return node

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Assert(self, node: ast.Assert) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant):
            return None
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            logs = value.func.attr in _LOG_LEVELS and _LOGGER.search(name_of(value.func.value))
            return None if logs else self.generic_visit(node)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        unrun = name_of(node.test) == "TYPE_CHECKING" or (
            isinstance(node.test, ast.Compare) and name_of(node.test.left) == "__name__"
        )
        if not unrun:
            return self.generic_visit(node)
        kept = [self.visit(each) for each in node.orelse]
        return [part for each in kept for part in (each if isinstance(each, list) else [each]) if part]

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        if any(name_of(target) in _METADATA for target in node.targets):
            return None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        node.annotation = ast.Name(id="_", ctx=ast.Load())  # the name itself may be a field
        return None if name_of(node.target) in _METADATA else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: FunctionNode) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        match node.body:
            # Such a function marks what subclasses must define. No test runs it.
            case [ast.Raise(exc=raised)] if name_of(raised) == "NotImplementedError":
                node.body = [ast.Pass()]
        if any(name_of(decorator) in _UNRUN for decorator in node.decorator_list):
            node.body = [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        if any(name_of(base) == "Protocol" for base in node.bases):
            node.body = [ast.Pass()]
        return node
