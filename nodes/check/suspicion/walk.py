"""A walk through a Python source that knows what runs at import."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

Function = ast.FunctionDef | ast.AsyncFunctionDef

_RUNS_WITH_CLASS = {"__init__", "__new__", "__enter__", "__exit__", "__call__", "__post_init__", "__del__"}
_RUNS_AT_DEFINITION = {"__init_subclass__", "__set_name__", "__prepare__"}


@dataclass(frozen=True)
class Surroundings:
    """The surroundings of a node: whether it runs at import, and the definitions around it.

    `main` is true below `if __name__ == "__main__"`, which no test runs.
    """

    at_import: bool = True
    main: bool = False
    function: str = ""
    owner: str = ""

    @property
    def name(self) -> str:
        """The qualified name of the definition around, empty at the top."""
        return ".".join(filter(None, (self.owner, self.function)))


Walked = list[tuple[ast.AST, Surroundings]]


def walk(tree: ast.Module) -> Walked:
    """Return every node with its surroundings, in the order of the source. Needs no recursion."""
    nodes = _walk(tree, frozenset())
    called = _called_at_import(nodes)
    local = {node.name for node, _ in nodes if isinstance(node, Function | ast.ClassDef)}
    return _walk(tree, called) if called & local else nodes


def _walk(tree: ast.Module, called: frozenset[str]) -> Walked:
    walked: Walked = []
    stack: list[tuple[ast.AST, Surroundings]] = [(tree, Surroundings())]
    while stack:
        node, around = stack.pop()
        walked.append((node, around))
        inside = [(child, around) for child in _children(node)]
        if isinstance(node, Function):
            runs = (around.at_import and node.name in _RUNS_AT_DEFINITION) or node.name in called
            if node.name in _RUNS_WITH_CLASS:
                runs = around.owner in called
            name = f"{around.function}.{node.name}" if around.function else node.name
            body = replace(around, at_import=runs, function=name)
            statements = set(map(id, node.body))
            inside = [(child, body if id(child) in statements else around) for child, _ in inside]
        elif isinstance(node, ast.ClassDef):
            owner = f"{around.owner}.{node.name}" if around.owner else node.name
            statements = set(map(id, node.body))
            body = replace(around, owner=owner)
            inside = [(child, body if id(child) in statements else around) for child, _ in inside]
        elif isinstance(node, ast.Lambda):
            inside = [(child, replace(around, at_import=False)) for child, _ in inside]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Lambda):
            inside = [(node.func.body, around), *((child, around) for child in (*node.args, *node.keywords))]
        elif isinstance(node, ast.If) and (main := _guards(node.test)):
            body = replace(around, at_import=False, main=main == "main")
            statements = set(map(id, node.body))
            inside = [(child, body if id(child) in statements else around) for child, _ in inside]
        stack.extend(reversed(inside))
    return walked


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the child nodes, without those that only mark loads and stores."""
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            for each in value:
                if isinstance(each, ast.AST):
                    yield each
        elif isinstance(value, ast.AST) and name != "ctx":
            yield value


def _guards(test: ast.expr) -> str:
    """Return "main" or "typing" for a guard whose body no import runs, else nothing."""
    if isinstance(test, ast.Name | ast.Attribute):
        name = test.id if isinstance(test, ast.Name) else test.attr
        return "typing" if name == "TYPE_CHECKING" else ""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        sides = (test.left, test.comparators[0])
        named = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
        mains = any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)
        return "main" if named and mains else ""
    return ""


def _called_at_import(nodes: Walked) -> frozenset[str]:
    """Return the names of this module's functions and classes that its import calls, also indirectly."""
    calls: dict[str, set[str]] = defaultdict(set)
    ahead: list[str] = []
    for node, around in nodes:
        names: list[str] = []
        if isinstance(node, ast.Call):
            names = [last_name(node.func)]
        elif isinstance(node, Function | ast.ClassDef):
            names = [last_name(each) for each in node.decorator_list]  # a call in it is a node of its own
        names = [name for name in names if name]
        if around.at_import:
            ahead += names
        elif around.function and not around.main:
            calls[around.function.rpartition(".")[2]].update(names)
            if around.owner and around.function in _RUNS_WITH_CLASS:
                calls[around.owner].update(names)
    reached: set[str] = set()
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += calls.get(name, ())
    return frozenset(reached)


def last_name(node: ast.expr) -> str:
    """Return the last name of a dotted expression, empty for any other."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def code_of(node: ast.AST, most: int = 500) -> str:
    """Return the code of a node, normalised and cut to `most` characters.

    It is the part of a sight's key that survives moves.
    """
    try:
        return ast.unparse(node)[:most]
    except RecursionError:
        return f"line {getattr(node, 'lineno', 1)}"
