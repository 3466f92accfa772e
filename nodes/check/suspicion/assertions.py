"""The assertions that a test function holds."""

import ast
import unittest
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nodes.check.suspicion.names import SourceNames
from nodes.check.suspicion.sight import Sight
from nodes.check.suspicion.walk import Function, Walked, code_of, last_name, walk

_CHECKING = (
    "assert",
    "raises",
    "warns",
    "check",
    "verify",
    "expect",
    "ensure",
    "validate",
    "compare",
    "should",
)
_HOLDING = {"fail", "deprecated_call", "testmod", "testfile", "exit", "does_not_raise", "benchmark"}
_NO_CHECK = {"assert_type", "assert_never", "checkout", "expectedFailure", "expandvars"}
_UNITTEST = {name for name in dir(unittest.TestCase) if not name.startswith(("assert", "fail"))}
"""Methods that every test case of unittest has, and that assert nothing."""

_EXISTENCE = {"exists", "is_file", "is_dir", "isfile", "isdir", "lexists"}
_TRIVIAL_CALLS = {"builtins.hasattr", "builtins.callable"}


@dataclass(frozen=True)
class Assertions:
    """The assertions of one test file, also those that its helper functions hold."""

    names: SourceNames
    functions: Mapping[str, Function]

    @classmethod
    def read(cls, nodes: Walked, names: SourceNames) -> "Assertions":
        """Collect the functions and methods of a file by their last name."""
        return cls(names, {node.name: node for node, _ in nodes if isinstance(node, Function)})

    def holds(self, test: Function) -> bool:
        """Return whether a test asserts anything, itself or by a helper or fixture."""
        arguments = (*test.args.posonlyargs, *test.args.args, *test.args.kwonlyargs)
        ahead = [test, *(self.functions[arg.arg] for arg in arguments if arg.arg in self.functions)]
        if any(arg.arg in _HOLDING for arg in arguments):
            return True
        reached = {test.name}
        while ahead:
            for node in ast.walk(ahead.pop()):
                if isinstance(node, ast.Assert) or (isinstance(node, ast.Raise) and _raises(node)):
                    return True
                if not isinstance(node, ast.Call):
                    continue
                name = last_name(node.func)
                if _checks(name, node) or self._is_inherited(node.func):
                    return True
                if name in self.functions and name not in reached:
                    reached.add(name)
                    ahead.append(self.functions[name])
        return False

    def _is_inherited(self, called: ast.expr) -> bool:
        """Return whether a called method of `self` comes from a base class elsewhere, which may assert."""
        match called:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return name not in self.functions and name not in _UNITTEST
        return False

    def trivial(self, test: Function) -> str:
        """Return why none of a test's assertions can fail for a wrong result, empty if one can."""
        reasons: list[str] = []
        for node in _own_nodes(test):
            if isinstance(node, ast.Assert):
                reasons.append(self._trivial(node.test))
            elif isinstance(node, ast.Raise) and _raises(node):
                return ""
            elif isinstance(node, ast.Call):
                name = last_name(node.func)
                if name in self.functions and name != test.name:
                    return ""  # a helper may assert more
                if name.startswith("assert") and isinstance(node.func, ast.Attribute):
                    reasons.append(self._trivial_method(name, node.args))
                elif _checks(name, node):
                    return ""
        return reasons[0] if reasons and all(reasons) else ""

    def _trivial_method(self, name: str, arguments: list[ast.expr]) -> str:
        if name in ("assertTrue", "assertIsNotNone", "assertFalse") and arguments:
            return self._trivial(arguments[0])
        if name in ("assertEqual", "assertIs", "assertEquals") and len(arguments) > 1:
            return self._same(arguments[0], arguments[1])
        return ""

    def _trivial(self, test: ast.expr) -> str:
        """Return why an asserted expression is true whatever the code does, empty if it is not."""
        while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test = test.operand
        match test:
            case ast.Constant() | ast.Lambda() | ast.JoinedStr():
                return "asserts a constant"
            case ast.Tuple(elts=[_, *_]) | ast.List(elts=[_, *_]) | ast.Dict(keys=[_, *_]):
                return "asserts a collection, which is always true"
            case ast.BoolOp(op=ast.Or(), values=values) if any(map(_true, values)):
                return "asserts `… or True`"
            case ast.BoolOp(values=values):
                reasons = [self._trivial(value) for value in values]
                return reasons[0] if all(reasons) else ""
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                none = isinstance(right, ast.Constant) and right.value is None
                if none and isinstance(op, ast.IsNot | ast.NotEq) and self._is_import(left):
                    return "checks only that a name exists"
                return self._same(left, right)
            case ast.Call(func=called):
                if last_name(called) in _EXISTENCE and not _temporary(test):
                    return "checks only that a file exists"
                if self.names.dotted(called) in _TRIVIAL_CALLS:
                    return "checks only that a name exists"
            case ast.Name() | ast.Attribute():
                return "checks only that a name exists" if self._is_import(test) else ""
        return ""

    def _same(self, left: ast.expr, right: ast.expr) -> str:
        if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            return "compares constants"
        if ast.dump(left) == ast.dump(right):
            return "compares a thing with itself"
        return ""

    def _is_import(self, node: ast.expr) -> bool:
        name = self.names.dotted(node)
        return name is not None and not name.startswith("builtins.")


def swallowed(nodes: Walked) -> Iterator[tuple[ast.Try | ast.With, str]]:
    """Yield the blocks that go on after a failed assertion inside them."""
    for node, _ in nodes:
        if isinstance(node, ast.Try) and _asserts(node.body):
            for handler in node.handlers:
                if _catches(handler.type) and not _fails(handler.body):
                    yield node, "catches a failed assertion and goes on"
                    break
        elif isinstance(node, ast.With) and _asserts(node.body):
            calls = [each.context_expr for each in node.items if isinstance(each.context_expr, ast.Call)]
            if any(last_name(call.func) == "suppress" and any(map(_catches, call.args)) for call in calls):
                yield node, "suppresses a failed assertion"


def removed_assertions(before: ast.Module, after: ast.Module, line: int) -> Iterator[Sight]:
    """Yield the comparisons that functions of a source asserted and that are gone. Tests may rely on them."""
    left = Counter(text for text, _ in _compared(after))
    for text, name in _compared(before):
        if left[text]:
            left[text] -= 1
        else:
            told = f"{name} does not assert `{text[:80]}` any more, which tests may rely on."
            yield Sight(f"removed assertion:{name}:{text}", line, told)


def _compared(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the comparisons of two arguments that a function asserts, with the function's name."""
    nodes = walk(tree)
    arguments = {node.arg for node, _ in nodes if isinstance(node, ast.arg)}
    for node, around in nodes:
        checked = node.test if isinstance(node, ast.Assert) else None
        if isinstance(node, ast.If) and any(isinstance(s, ast.Raise) and _raises(s) for s in node.body):
            checked = node.test
        if around.function and isinstance(checked, ast.Compare):
            sides = (checked.left, *checked.comparators)
            if all(_names(side) & arguments for side in sides):
                yield code_of(checked, 300), around.function


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _asserts(body: list[ast.stmt]) -> bool:
    nodes = (node for statement in body for node in ast.walk(statement))
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and last_name(node.func).startswith("assert"))
        for node in nodes
    )


def _catches(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    types = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(last_name(each) in ("AssertionError", "Exception", "BaseException") for each in types)


def _fails(body: list[ast.stmt]) -> bool:
    nodes = [node for statement in body for node in ast.walk(statement)]
    return _asserts(body) or any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and last_name(node.func) == "fail")
        for node in nodes
    )


def _checks(name: str, call: ast.Call) -> bool:
    if name in _NO_CHECK:
        return False
    words = name.lower()
    if name in _HOLDING or any(word in words for word in _CHECKING):
        return True
    return any(each.arg == "check" and _true(each.value) for each in call.keywords)


def _raises(node: ast.Raise) -> bool:
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return raised is not None and last_name(raised) in ("AssertionError", "Failed")


def _own_nodes(test: Function) -> Iterator[ast.AST]:
    for statement in test.body:
        yield from ast.walk(statement)


def _true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and bool(node.value)


def _temporary(node: ast.AST) -> bool:
    """Return whether an expression may mean a file that the test itself made."""
    local = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
    text = any(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in ast.walk(node))
    return any("tmp" in name or "temp" in name for name in local) or not text
