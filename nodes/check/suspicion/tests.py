"""Rules for Python tests that cannot fail, look past the product's behaviour, or alter other tests."""

import ast
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from nodes.check.suspicion.assertions import Assertions, swallowed
from nodes.check.suspicion.names import SourceNames
from nodes.check.suspicion.sight import Sight
from nodes.check.suspicion.walk import Function, Surroundings, Walked, code_of, last_name

_READERS = {"read_text", "read_bytes", "readlines", "getsource", "getsourcelines", "getlines"}
_SOURCE_READERS = {"inspect.getsource", "inspect.getsourcelines", "linecache.getlines", "linecache.getline"}
_OPENERS = {"builtins.open", "io.open", "codecs.open", "tokenize.open"}
_SEARCHERS = {"grep", "egrep", "rg", "ack", "git grep"}
_MACHINE = {
    *("socket.gethostname", "platform.node", "os.uname", "platform.uname"),
    *("os.getuid", "os.geteuid", "os.getlogin", "getpass.getuser"),
}
_SKIPS = {
    *("pytest.skip", "pytest.xfail", "pytest.importorskip", "pytest.exit"),
    *("pytest.mark.skip", "pytest.mark.xfail"),
    *("unittest.skip", "unittest.SkipTest", "unittest.expectedFailure"),
}
"""Names that skip a test, or excuse its failure, whatever the machine is."""

_CONDITIONAL = {"pytest.mark.skipif", "unittest.skipIf", "unittest.skipUnless"}
"""Names that skip a test on a condition. They are suspicious with a constant only."""

_HIDING = {"__test__", "collect_ignore", "collect_ignore_glob"}
_ANY_FAILURE = {"builtins.Exception", "builtins.BaseException"}
_MOST_NODES = 2_000

Meanings = dict[str, list[ast.expr]]

_PATCHERS = {"setattr", "delattr", "setitem", "delitem"}


@dataclass(frozen=True)
class CaseRules:
    """The rules for one test file. `products` holds the names of the source files that it may read."""

    names: SourceNames
    products: Set[str]
    cases: bool

    def sights(self, nodes: Walked) -> Iterator[Sight]:
        """Yield what the rules name."""
        shared = _shared(nodes)
        meanings = _assigned(nodes)
        for node, around in nodes:
            for key, text in self._node(node, around, meanings):
                yield Sight(f"{key}:{around.name}:{code_of(node)}", getattr(node, "lineno", 1), text)
            if around.function in shared and isinstance(node, ast.Call) and self._patches(node):
                text = f"{around.function} patches something for all tests around it, also those of others."
                yield Sight(f"patches:{code_of(node)}", node.lineno, text)
        for block, text in swallowed(nodes):
            yield Sight(f"swallowed:{code_of(block)}", block.lineno, f"The test {text}.")
        if self.cases:
            yield from self._cases(nodes)

    def _cases(self, nodes: Walked) -> Iterator[Sight]:
        """Yield the test functions that cannot fail for a wrong result."""
        for node, around in nodes:
            if (
                isinstance(node, Function | ast.ClassDef)
                and not around.name
                and self.names.imports(node.name)
            ):
                text = f"It defines {node.name} itself after importing it, so it tests its own copy."
                yield Sight(f"own copy:{node.name}", node.lineno, text)
        assertions = Assertions.read(nodes, self.names)
        defined: set[str] = set()
        for node, around in nodes:
            if not isinstance(node, Function) or not node.name.startswith("test") or around.function:
                continue
            if around.owner and not ("Test" in around.owner or node.args.args):
                continue
            name = f"{around.owner}.{node.name}".strip(".")
            if name in defined:
                text = f"{name} is defined again, so the one before it does not run."
                yield Sight(f"defined again:{name}", node.lineno, text)
            defined.add(name)
            if patched := self._tests_mock(node):
                text = f"{name} calls {patched}, which it has replaced itself, so it tests its own mock."
                yield Sight(f"mock:{node.name}:{patched}", node.lineno, text)
            if not assertions.holds(node):
                yield Sight(
                    f"asserts nothing:{node.name}",
                    node.lineno,
                    f"{name} holds no assertion, so it cannot fail.",
                )
            elif reason := assertions.trivial(node):
                yield Sight(
                    f"{reason}:{node.name}", node.lineno, f"{name} {reason}, so a wrong result passes it."
                )

    def _tests_mock(self, test: Function) -> str:
        """Return the name that a test replaces and then calls in an assertion, empty if there is none."""
        calls = [each for each in ast.walk(test) if isinstance(each, ast.Call)]
        patched = {
            self.names.text(call.args[0])
            for call in calls
            if call.args and "mock.patch" in (self.names.dotted(call.func) or "")
        }
        asserts = [each for each in ast.walk(test) if isinstance(each, ast.Assert)] if patched else []
        for call in (each for check in asserts for each in ast.walk(check) if isinstance(each, ast.Call)):
            if (name := self.names.dotted(call.func)) in patched and name:
                return name
        return ""

    def _node(self, node: ast.AST, around: Surroundings, meanings: Meanings) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Call):
            yield from self._call(node, around, meanings)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            hidden = {last_name(target) for target in targets} & _HIDING
            if hidden and not around.function:
                yield "hides", f"{hidden.pop()} keeps tests from being collected."
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = self.names.dotted(node)
            if name in _SKIPS or name in ("unittest.TestCase.skipTest",) or last_name(node) == "skipTest":
                yield "skips", f"It uses {name or 'skipTest'}, so tests may not run or may fail unseen."
            elif name in _MACHINE:
                yield "machine", f"It asks {name}, by which a test can recognise the sandbox."

    def _call(self, node: ast.Call, around: Surroundings, meanings: Meanings) -> Iterator[tuple[str, str]]:
        name, last = self.names.dotted(node.func) or "", last_name(node.func)
        any_failure = bool(node.args) and self.names.dotted(node.args[0]) in _ANY_FAILURE
        if any_failure and name == "pytest.raises" and not any(each.arg == "match" for each in node.keywords):
            yield "raises", "It expects any exception, so a failure of another kind passes it."
        # A condition that asks the platform is common, and a skipped case proves nothing anyway.
        if name in _CONDITIONAL and node.args and not _asks(node.args[0]):
            yield "skips", f"It uses {name} with a constant, so tests do not run."
        if name in _SOURCE_READERS:
            yield (
                "reads source",
                f"It reads source code with {name}, so it tests the text and not what it does.",
            )
        elif last in _READERS or name in _OPENERS:
            value = node.func.value if isinstance(node.func, ast.Attribute) else None
            place = node.args[0] if name in _OPENERS and node.args else value
            if place is not None and (path := self._product(place, meanings)):
                yield "reads source", f"It reads {path} as text, so it tests the text and not what it does."
        if any(self.names.text(each) in _SEARCHERS for each in _words(node)) and last != "which":
            yield "searches source", "It searches files with grep, so it tests the text and not what it does."
        if around.at_import and not around.main and self._patches(node):
            yield "patches", "It patches something when it is imported, which other tests then use."

    def _patches(self, node: ast.Call) -> bool:
        """Return whether a call replaces an attribute or starts a mock's patch."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in _PATCHERS:
            return True
        if last_name(node.func) in ("start", "__enter__", "enter_context") and isinstance(
            node.func, ast.Attribute
        ):
            return any(self._is_mock(each) for each in (node.func.value, *node.args))
        return False

    def _is_mock(self, node: ast.expr) -> bool:
        called = self.names.dotted(node.func) if isinstance(node, ast.Call) else None
        return bool(called and "mock.patch" in called)

    def _product(self, place: ast.expr, meanings: Meanings) -> str:
        """Return the source file that an expression names, empty if it names none."""
        ahead, reached, nodes = [place], {""}, list[ast.AST]()
        while ahead and len(nodes) < _MOST_NODES:
            for node in ast.walk(ahead.pop()):
                nodes.append(node)
                if isinstance(node, ast.Name) and node.id not in reached:
                    reached.add(node.id)
                    ahead += meanings.get(node.id, ())
        if any(isinstance(each, ast.Name) and each.id.startswith(("tmp", "temp")) for each in nodes):
            return ""
        for each in nodes:
            if isinstance(each, ast.Attribute) and each.attr == "__file__":
                return f"{ast.unparse(each.value)}.__file__"
            text = self.names.text(each) if isinstance(each, ast.Constant) else None
            if text and (PurePosixPath(text).name in self.products or text.endswith("*.py")):
                return text
        return ""


def _shared(nodes: Walked) -> set[str]:
    """Return the functions that run for tests which do not ask for them."""
    shared = set()
    for node, _ in nodes:
        if not isinstance(node, Function):
            continue
        if node.name in ("setup_module", "setUpModule", "setup_function", "setup_session"):
            shared.add(node.name)
        for decorator in node.decorator_list:
            options = decorator.keywords if isinstance(decorator, ast.Call) else []
            wide = {each.arg: ast.unparse(each.value) for each in options if each.arg in ("autouse", "scope")}
            if wide.get("autouse") == "True" or wide.get("scope", "'function'") != "'function'":
                shared.add(node.name)
    return shared


def _assigned(nodes: Walked) -> Meanings:
    """Map names to some of the expressions that they stand for in assignments, loops and with."""
    meanings: Meanings = {}
    for node, _ in nodes:
        match node:
            case ast.Assign(targets=[target], value=value) | ast.For(target=target, iter=value):
                pairs = [(target, value)]
            case ast.comprehension(target=target, iter=value):
                pairs = [(target, value)]
            case ast.withitem(optional_vars=ast.expr() as target, context_expr=value):
                pairs = [(target, value)]
            case _:
                continue
        for target, value in pairs:
            if isinstance(target, ast.Name) and len(known := meanings.setdefault(target.id, [])) < 8:
                known.append(value)
    return meanings


def _asks(condition: ast.expr) -> bool:
    return any(isinstance(each, ast.Name | ast.Attribute) for each in ast.walk(condition))


def _words(node: ast.Call) -> list[ast.expr]:
    words: list[ast.expr] = []
    for argument in node.args:
        words += argument.elts if isinstance(argument, ast.List | ast.Tuple) else [argument]
    return words
