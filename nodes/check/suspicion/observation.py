"""Rules for sources that observe the run that tests them, or read what its tests expect."""

import ast
import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from nodes.check.suspicion.names import SourceNames
from nodes.check.suspicion.sight import Sight
from nodes.check.suspicion.sources import docstrings
from nodes.check.suspicion.walk import Walked, code_of

_CALLERS = {"f_back", "findCaller", "get_stack"}
_STREAMS = {"sys.stdin", "sys.stdout", "sys.stderr"}
_SEARCHES = {"rglob", "iglob", "glob", "walk", "iterdir", "listdir", "scandir"}
_ANY = re.compile(r"(?:\./)?\*|\.{1,2}/?$")
_WIDE = re.compile(r"(?:\*\*|\*/|^\.\.)")
_ENTRIES = {"get", "pop", "setdefault", "update", "__setitem__", "__contains__"}
_HERE = {"glob.glob", "glob.iglob", "os.walk", "os.listdir", "os.scandir"}
_MOST_NODES = 200
_VIEWS = {"keys", "items", "values"}
_LONGEST = 200
TEST_FOLDERS = {"test", "tests", "__tests__", "spec", "specs", "testing"}


@dataclass(frozen=True)
class ObservationRules:
    """The rules for one source of the product. `tests` holds the test files and the folders of tests."""

    names: SourceNames
    tests: Set[str]

    def sights(self, nodes: Walked) -> Iterator[Sight]:
        """Yield what the rules name."""
        quiet, entries = docstrings(nodes), _entries(nodes)
        for node, around in nodes:
            if around.main or id(node) in quiet:
                continue
            for text in self._node(node, id(node) in entries):
                place = node.iter if isinstance(node, ast.For | ast.comprehension) else node
                yield Sight(f"observes:{text}:{code_of(place)}", getattr(place, "lineno", 1), text)

    def _node(self, node: ast.AST, entry: bool) -> Iterator[str]:
        match node:
            case ast.Attribute(attr=attribute, value=value):
                if attribute in _CALLERS:
                    yield f"It uses {attribute}, which tells its callers, so it can know a test."
                elif attribute == "__class__" and self.names.dotted(value) in _STREAMS:
                    yield "It asks for the type of a standard stream, by which it can recognise a test run."
                elif not entry and self.names.dotted(node) == "sys.modules":
                    yield "It searches sys.modules, by which it can recognise a test run."
            case ast.Name(ctx=ast.Load()) if not entry and self.names.dotted(node) == "sys.modules":
                yield "It searches sys.modules, by which it can recognise a test run."
            case ast.For(iter=searched) | ast.comprehension(iter=searched):
                yield from self._searched(searched)
            case ast.Assign(targets=[ast.Name(id="__test__")]):
                yield "It sets __test__, which holds examples that run as tests."
            case ast.Call():
                yield from self._call(node)
            case ast.Constant(value=str() as text) if len(text) < _LONGEST:
                if text in _CALLERS:
                    yield f"It names {text}, which tells its callers, so it can know a test."
                elif self._names_test(text):
                    yield f"It names {text!r}, from which it can read what the tests expect."
            case ast.Import() | ast.ImportFrom():
                yield from self._import(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        aliases = [alias.name for alias in node.names]
        for module in aliases if isinstance(node, ast.Import) else filter(None, [node.module]):
            if f"{module.replace('.', '/')}.py" in self.tests:
                yield f"It imports the test {module}, from which it can learn what is expected."
            elif module == "__main__":
                yield "It imports __main__, by which it can recognise a test run."
            elif module in ("unittest.mock", "mock") or (module == "unittest" and "mock" in aliases):
                yield "It imports mock, with which it can alter what tests use or expect."

    def _call(self, node: ast.Call) -> Iterator[str]:
        name = self.names.dotted(node.func) or ""
        if name == "builtins.type" and node.args and self.names.dotted(node.args[0]) in _STREAMS:
            yield "It asks for the type of a standard stream, by which it can recognise a test run."
        elif name == "warnings.catch_warnings" and any(each.arg == "record" for each in node.keywords):
            yield "It records warnings, which tell its callers, so it can know a test."
        if isinstance(node.func, ast.Attribute) and node.func.attr in _SEARCHES:
            place = islice(ast.walk(node.func.value), _MOST_NODES)
            parts = [*place, *node.args, *(each for part in node.args for each in islice(ast.walk(part), 20))]
            anchored = any(isinstance(each, ast.Name) and each.id == "__file__" for each in parts)
            texts = [self.names.text(each) or "" for each in node.args]
            wide = node.func.attr in ("rglob", "walk") or any(map(_WIDE.search, texts))
            if (anchored and wide) or (name in _HERE and any(map(_ANY.match, texts))):
                yield "It searches the folders around itself, where it can read what the tests expect."

    def _searched(self, node: ast.expr) -> Iterator[str]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _VIEWS:
            node = node.func.value
        if isinstance(node, ast.Attribute | ast.Name) and self.names.dotted(node) == "os.environ":
            yield "It searches os.environ, by which it can recognise a test run."

    def _names_test(self, text: str) -> bool:
        return text in self.tests or any(part in self.tests for part in PurePosixPath(text).parts)


def names_of_tests(paths: Iterable[str]) -> frozenset[str]:
    """Return the texts by which a source can mean one of the test files at `paths`, or their folder."""
    names = set[str]()
    for path in paths:
        *folders, name = path.split("/")
        names |= {name, path, *TEST_FOLDERS.intersection(folders)}
    return frozenset(names)


def _entries(nodes: Walked) -> set[int]:
    """Return the ids of expressions of which a program takes or tests one entry, or that it names."""
    entries = set[int]()
    for node, _ in nodes:
        match node:
            case ast.Subscript(value=value) | ast.Assign(value=value) | ast.AnnAssign(value=value):
                entries.add(id(value))
            case ast.Attribute(attr=attribute, value=value) if attribute in _ENTRIES:
                entries.add(id(value))
            case ast.Compare(comparators=values):
                entries.update(map(id, values))
    return entries
