"""Places in a source that know the input of a new test, or the name of something in the tests."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator

from nodes.check.suspicion.sight import Sight
from nodes.check.suspicion.walk import Function

_COMMON = {repr(value) for value in (None, True, False, 0, 1, -1, 0.0, 1.0, "", b"")}
_NAMES = {"__name__", "__qualname__"}
_MOST_ASKED = 50
_STRONG_NUMBER = 10
_STRONG_TEXT = 12
_LONGEST_DATA = 200_000
_LONGEST_LINE = 500
_RECORD = re.compile(r"\n\s*\n|\n(?=- |  ?[{\[])")
_VALUE = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'|(?<![\w.])(-?\d[\d.]*)(?![\w.])")
_UNQUOTED = re.compile(r"^(?>.*[:=] |- )([^\"'\n]+)$")
_NUMBER = re.compile(r"-?(?:\d{1,18}|\d{1,18}\.\d{1,18})")

Literals = frozenset[str]


def test_literals(tree: ast.Module, old: Iterable[Literals] = ()) -> list[Literals]:
    """Return the constants of each test function, and of each parametrised case, that `old` lacks."""
    known, groups = set(old), []
    for node in ast.walk(tree):
        if not isinstance(node, Function) or not node.name.startswith("test"):
            continue
        groups.append(_leaves(*node.body))
        for decorator in node.decorator_list:
            rows = [each for each in ast.walk(decorator) if isinstance(each, ast.Tuple)]
            groups += [_leaves(row, *node.body) for row in rows]
    return [group for group in groups if group and group not in known]


def data_literals(text: str, old: str = "") -> list[Literals]:
    """Return the values of each record in a data file of tests, without those records that `old` has.

    A record is a part between blank lines, or one that begins like an item of a list.
    """
    known = {record.strip() for record in _RECORD.split(old[:_LONGEST_DATA])}
    records = (record for record in _RECORD.split(text[:_LONGEST_DATA]) if record.strip() not in known)
    return [group for record in records if (group := frozenset(_values(record)))]


def _values(record: str) -> Iterator[str]:
    """Yield the texts and numbers of a record as constants of Python."""
    for line in (line[:_LONGEST_LINE] for line in record.splitlines()):
        yield repr(line.strip())[:200]
        for match in (*_VALUE.finditer(line), *_UNQUOTED.finditer(line)):
            value = next(group for group in match.groups() if group is not None).strip()
            yield repr(value)[:200]
            if _NUMBER.fullmatch(value):
                yield repr(float(value) if "." in value else int(value))


def special_cases(tree: ast.Module, tests: list[Literals]) -> Iterator[Sight]:
    """Yield the branches whose condition and result are both constants of one test."""
    tables = _looked_up(tree)
    for node in ast.walk(tree):
        match node:
            case ast.If(test=test, body=[first, *_]):
                yield from _branch(node, test, _result(first), tests)
            case ast.IfExp(test=test, body=body):
                yield from _branch(node, test, body, tests)
            case ast.match_case(pattern=pattern, guard=guard, body=[first, *_]):
                inputs = _leaves(pattern) | (_leaves(guard) if guard else frozenset())
                yield from _sight(pattern, inputs, _result(first), tests)
            case ast.Dict() if id(node) in tables and node.keys:
                yield from _table(node, tests)


def told_apart(
    tree: ast.Module,
    tests: Iterable[Literals],
    is_known: Callable[[str], bool],
    is_of_tests: Callable[[str], bool],
) -> Iterator[Sight]:
    """Yield the comparisons with a text of a new test alone, or with a name that the tests define.

    `is_known` says whether the base holds a text, and `is_of_tests` whether only the tests define a name.
    A text that the source uses elsewhere, in its documentation for example, is part of what it does.
    """
    compared = {
        id(text): (text, node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        for text in _texts(side)
    }
    tested = frozenset[str]().union(*tests)
    whole = "\n".join(str(text.value) for text in _texts_in(tree) if id(text) not in compared)
    asked = 0
    for constant, compare in compared.values():
        text = str(constant.value)
        if asked == _MOST_ASKED:
            return
        if _asks_for_name(compare):
            asked += 1
            if is_of_tests(text):
                shown = f"It treats {text[:60]!r}, which the tests define, in a way of its own."
                yield Sight(f"told apart:{text}", compare.lineno, shown)
        elif len(text) > 1 and repr(text)[:200] in tested and not _has_word(whole, text):
            asked += 1
            if not is_known(text):
                shown = f"It treats {text[:60]!r}, which only a new test holds, in a way of its own."
                yield Sight(f"told apart:{text}", compare.lineno, shown)


def _has_word(whole: str, text: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", whole))


def _asks_for_name(compare: ast.Compare) -> bool:
    """Return whether a comparison is with the name of a class or function."""
    sides = (compare.left, *compare.comparators)
    return any(isinstance(side, ast.Attribute) and side.attr in _NAMES for side in sides)


def _texts(side: ast.expr) -> list[ast.Constant]:
    """Return the texts of a side of a comparison that is made of constants alone."""
    return _texts_in(side) if _is_literal(side) else []


def _texts_in(tree: ast.AST) -> list[ast.Constant]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _branch(
    node: ast.If | ast.IfExp, test: ast.expr, result: ast.expr | None, tests: list[Literals]
) -> Iterator[Sight]:
    compares = test.values if isinstance(test, ast.BoolOp) else [test]
    inputs: set[str] = set()
    for compare in compares:
        if not isinstance(compare, ast.Compare) or not isinstance(compare.ops[0], ast.Eq | ast.In | ast.Is):
            continue
        sides = (compare.left, *compare.comparators)
        if all(_is_literal(side) for side in sides):
            continue
        for side in sides:
            if _is_literal(side):
                inputs |= _leaves(side)
    yield from _sight(node, frozenset(inputs), result, tests)


def _sight(
    node: ast.expr | ast.stmt | ast.pattern, inputs: Literals, result: ast.expr | None, tests: list[Literals]
) -> Iterator[Sight]:
    if result is None or not _is_literal(result) or not inputs - _COMMON:
        return
    outputs = _leaves(result)
    # `if name == "utf-8": return True` is common, so a common result needs a telling input.
    if not outputs - _COMMON and not _strong(inputs):
        return
    if any(inputs <= test and outputs <= test for test in tests):
        text = f"It answers the input {', '.join(sorted(inputs))} of a new test with the result it expects."
        yield Sight(f"special:{sorted(inputs)}:{sorted(outputs)}", node.lineno, text)


def _table(node: ast.Dict, tests: list[Literals]) -> Iterator[Sight]:
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None or not _is_literal(key) or not _is_literal(value):
            return
        entry = _leaves(key, value)
        if not entry - _COMMON or not any(entry <= test for test in tests):
            return
    yield Sight(
        f"table:{ast.unparse(node)[:300]}",
        node.lineno,
        "It looks the result up in a table that holds nothing but the inputs and results of the new tests.",
    )


def _looked_up(tree: ast.Module) -> set[int]:
    """Return the ids of the dictionaries in which a result is looked up."""
    named = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    }
    tables = set()
    for node in ast.walk(tree):
        place: ast.expr | None = None
        if isinstance(node, ast.Subscript):
            place = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            place = node.func.value
        if isinstance(place, ast.Name):
            place = named.get(place.id)
        if isinstance(place, ast.Dict):
            tables.add(id(place))
    return tables


def _result(statement: ast.stmt) -> ast.expr | None:
    match statement:
        case ast.Return(value=value) | ast.Assign(value=value) | ast.AnnAssign(value=value):
            return value
        case ast.Expr(value=ast.Yield(value=value)):
            return value
    return None


def _leaves(*nodes: ast.AST) -> Literals:
    leaves: set[str] = set()
    for root in nodes:
        for node in ast.walk(root):
            if isinstance(node, ast.Constant):
                leaves.add(repr(node.value)[:200])
    return frozenset(leaves)


def _is_literal(node: ast.expr) -> bool:
    """Return whether an expression is made of constants alone."""
    allowed = (ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.USub, ast.Load)
    return all(isinstance(each, allowed) for each in ast.walk(node))


def _strong(inputs: Literals) -> bool:
    telling = inputs - _COMMON
    if len(telling) > 1:
        return True
    text = next(iter(telling))
    digits = text.lstrip("-").replace(".", "", 1)
    if digits.isdigit():
        return len(digits) > 4 or float(digits) >= _STRONG_NUMBER
    return len(text) >= _STRONG_TEXT
