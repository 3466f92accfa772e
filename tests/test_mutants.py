"""Mutants of a change: those that are made, those that tests notice, and lines that none guards."""

import textwrap
import time
from collections.abc import Callable

import pytest
from projects import ADD, DOUBLE, Files, Project
from projects import MATHS as QUIET_MATHS

from nodes.check import compare
from nodes.check.mutation.missing_names import lacks_name
from nodes.check.mutation.mutants import MOST, ChangedSource, Mutant, choose, is_source, merge
from nodes.dialogue.results import summarize
from nodes.proof import Proof, Unguarded

Make = Callable[[Files], Project]

MATHS = QUIET_MATHS | {".autocode.toml": ""}
"""The small project with mutants."""


def made(base: str | None, head: str, path: str = "shop.py") -> list[str]:
    mutants = choose([ChangedSource(path, base, head)])
    assert all(mutant.text != head for mutant in mutants)
    return [f"{mutant.first}-{mutant.last} {mutant.description}" for mutant in mutants]


def function(body: str) -> str:
    return "def f(a, b):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n"


@pytest.mark.parametrize(
    ("body", "descriptions"),
    [
        ("return a < b", ["f() returns nothing", "`<` becomes `>=`"]),
        ("return a is not b", ["f() returns nothing", "`is not` becomes `is`"]),
        ("return a not in b", ["f() returns nothing", "`not in` becomes `in`"]),
        ("return (a) == (  # same\n  b)", ["f() returns nothing"]),
        ("return a and b", ["f() returns nothing", "`and` becomes `or`"]),
        ("return a // b", ["f() returns nothing", "`//` becomes `*`"]),
        ("return '%s' % a", ["f() returns nothing"]),
        ("return not a", ["f() returns nothing", "`not a` loses its not"]),
        ("return 'yes'", ["f() returns nothing", "`'yes'` becomes `\"\"`"]),
        ("return True", ["f() returns nothing", "`True` becomes `False`"]),
        ("return 1.5", ["f() returns nothing", "`1.5` becomes `2.5`"]),
        ("return 4_096", ["f() returns nothing", "`4_096` becomes `0`"]),
        ("return f'{a + 1}'", ["f() returns nothing"]),
        ("yield a", ["f() yields nothing"]),
        (
            "b.append(a)\nb.sort()",
            ["f() returns nothing", "`b.append(a)` is removed", "`b.sort()` is removed"],
        ),
        ("a.b = b\nreturn a", ["f() returns nothing", "`a.b = b` is removed"]),
        ("raise KeyError(a)", ["f() returns nothing"]),
        ("if a:\n    b()", ["f() returns nothing", "`a` is negated", "`b()` is removed"]),
        ("return call(a, timeout=5)", ["f() returns nothing"]),
        ("if sys.version_info >= (3, 9):\n    return a", ["f() returns nothing"]),
        ("assert a > 3\nreturn b", ["f() returns nothing"]),
        ("logger.info('a: %d', 1)\nreturn b", ["f() returns nothing"]),
    ],
)
def test_a_new_function_is_broken_as_a_whole_and_in_its_operators(body: str, descriptions: list[str]) -> None:
    assert [text.partition(" ")[2] for text in made(None, function(body))] == descriptions


@pytest.mark.parametrize(
    "head",
    [
        "",
        '"""Words."""\n',
        "import os\nfrom a import b\n",
        "__all__ = ['f']\n__version__ = '2'\n",
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    X = 1 < 2\n",
        "if __name__ == '__main__':\n    run(1 + 1)\n",
        "def f(a: int = None) -> list[int]:\n    '''Words.'''\n",
        "def f():\n    pass\n",
        "def f():\n    return None\n",
        "def f():\n    raise NotImplementedError('1')\n",
        "def f():\n    log.info('x %d', 1 + 1)\n",
        "class A(Protocol):\n    def f(self) -> int:\n        return 1\n",
        "class A:\n    @abstractmethod\n    def f(self) -> int:\n        return 1\n",
        "@dataclass(frozen=True)\nclass A(B, total=False):\n    name: str\n",
        "NAME = 'x'\n",
        "# a comment\n",
    ],
)
def test_what_no_test_can_notice_makes_no_mutant(head: str) -> None:
    assert made(None, head) == []


BASE = '''\
"""Words."""
import os


def total(items: list[int]) -> int:
    """Sum."""
    # add up
    logger.info("adding")
    result = sum(items)
    return result
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"Words."', '"Other words."'),
        ("import os", "import os\nimport sys"),
        ("items: list[int]", "items: list[float]"),
        ("# add up", "# sum up\n    # and more"),
        ('"adding"', '"adding up"'),
        ("    # add up\n", ""),
        ("return result", "return result  # the sum"),
        ("sum(items)", "sum(\n        items\n    )"),
    ],
)
def test_an_edit_without_effect_is_not_taken_back(old: str, new: str) -> None:
    assert old in BASE
    assert made(BASE, BASE.replace(old, new)) == []


def test_an_edit_is_taken_back_and_a_deletion_too() -> None:
    edited = BASE.replace("sum(items)", "sum(items) + len(items)")
    assert made(BASE, edited) == [
        "8-10 total() returns nothing",
        "9-9 the hunk is taken back",
        "9-9 `+` becomes `-`",
    ]
    guard = BASE.replace("    result =", "    if not items:\n        return 0\n    result =")
    assert "9-10 the hunk is taken back" in made(BASE, guard)
    assert "8-8 the deleted lines are back" in made(guard, BASE)
    (back,) = [each for each in choose([ChangedSource("a.py", guard, BASE)]) if "back" in each.description]
    assert back.text == guard


def test_a_hunk_that_defines_names_is_not_taken_back() -> None:
    renamed = BASE.replace("def total", "def add_up")
    assert not [text for text in made(BASE, renamed) if "taken back" in text]
    assert not [text for text in made(BASE, BASE + "\n\nLIMIT = 3\n") if "taken back" in text]


def test_lines_that_did_not_change_are_left_alone() -> None:
    base = "def f(a):\n    return a + 1\n\n\ndef g(a):\n    return a - 1\n"
    assert made(base, base.replace("a + 1", "a * 2")) == [
        "2-2 f() returns nothing",
        "2-2 the hunk is taken back",
        "2-2 `*` becomes `/`",
        "2-2 `2` becomes `3`",
    ]


DUMP = """\
def export(data, limit):
    if limit > 3:
        data.sort()
    return dump(data, flow=False, unicode=True)
"""


@pytest.mark.parametrize(
    ("old", "new", "details"),
    [
        (
            "dump(data, flow=False, unicode=True)",
            "dump(\n        data,\n        flow=False,\n        unicode=True,\n        sort=False,\n    )",
            ["`False` becomes `True`"],
        ),
        (
            "    if limit > 3:\n        data.sort()\n",
            "    try:\n        if limit > 3:\n            data.sort()\n    finally:\n        limit = 2\n",
            ["`2` becomes `3`"],
        ),
        ("if limit > 3", "if (\n        limit\n        > 4\n    )", ["`>` becomes `<=`", "`4` becomes `5`"]),
        ("dump(data, flow=False", "dump(data,\n        flow=True", ["`True` becomes `False`"]),
        (
            "        data.sort()\n",
            "        data.append(\n            3)\n        data.sort(\n        )\n",
            ["`data.append( 3)` is removed", "`3` becomes `4`"],
        ),
    ],
)
def test_code_that_only_moved_to_other_lines_is_not_broken(old: str, new: str, details: list[str]) -> None:
    head = DUMP.replace(old, new)
    mutants = choose([ChangedSource("a.py", DUMP, head)], kinds=("detail", "constant"))
    assert [mutant.description for mutant in mutants] == details


def test_formatting_and_line_ends_are_kept() -> None:
    head = (
        "def f(a):\r\n\t'''Ö'''\r\n\treturn (  a+\\\r\n\t\t1 )  # keep\r\nÄ = 'ö' if f(1) == 'ü' else 2\r\n"
    )
    texts = {each.description: each.text for each in choose([ChangedSource("a.py", None, head)])}
    assert texts["`+` becomes `-`"] == head.replace("a+", "a-")
    assert texts["f() returns nothing"] == head.replace("return (  a+\\\r\n\t\t1 )", "pass")
    assert texts["`==` becomes `!=`"] == head.replace("==", "!=")
    assert texts["`'ü'` becomes `\"\"`"] == head.replace("'ü'", '""')


def test_every_function_comes_before_the_details_and_new_before_moved() -> None:
    moved = function("return a + b").replace("def f", "def moved")
    small, large = (
        f"def {name}(a):\n" + f"    a += a * {number}\n" * number + "    return a\n"
        for name, number in (("small", 2), ("large", 9))
    )
    source = ChangedSource("a.py", None, "\n\n".join((moved, small, large)), {"return a + b"})
    mutants = choose([source])
    assert [mutant.description for mutant in mutants[:3]] == [
        "large() returns nothing",
        "small() returns nothing",
        "moved() returns nothing",
    ]
    assert len(mutants) == MOST
    assert [mutant.unit for mutant in mutants[3:6]] == ["large", "small", "moved"]
    assert choose([source]) == mutants


def test_other_languages_are_broken_by_hunks() -> None:
    base = "// price\nfunction f(a) {\n  return a\n}\n"
    assert made(base, base.replace("return a", "return a + 1"), "src/f.js") == ["3-3 the hunk is taken back"]
    assert made(base, base.replace("// price", "// the price"), "src/f.js") == []
    assert made(None, base, "src/f.js") == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("shop/cart.py", True),
        ("src/main.rs", True),
        ("lib/latest.js", True),
        ("README.md", False),
        ("data.json", False),
        ("tests/helpers.py", False),
        ("shop/test_cart.py", False),
        ("src/cart.test.ts", False),
        ("pkg/cart_test.go", False),
        ("src/CartTest.java", False),
        ("conftest.py", False),
        ("docs/conf.py", False),
        ("setup.py", False),
    ],
)
def test_only_sources_of_the_product_are_broken(path: str, source: bool) -> None:
    assert is_source(path) is source


@pytest.mark.parametrize(
    "head",
    [
        "def f(:\n",
        "x = " + "(" * 3_000 + ")" * 3_000 + "\n",
        "x = " + "-" * 20_000 + "1\n",
        "x = " + "+".join("a" * 5_000) + "\n",
        "".join(f"{' ' * depth}if a:\n" for depth in range(99)) + f"{' ' * 99}b()\n",
        "x = [" + "1, " * 20_000 + "]\n",
        "x = [\n" + "1,\n" * 20_000 + "]\n",
        "def f(): return 1\n" * 4_000,
        "x = '\\d'\ny = 1 is 1\n",
        "x = 1\ry = 2\n",
        "def f():\n    return 0x" + "f" * 10_000 + "\n",
        "a" * 300_000,
        "\0",
        "def f():\n    return 1\n" + "\f\n\x0c\n",
    ],
    ids=lambda head: head[:12],
)
def test_hostile_sources_are_survived_in_little_time(head: str) -> None:
    began = time.process_time()
    for base in (None, "x = 2\n" + head[-1_000:]):
        source = ChangedSource("a.py", base, head)
        assert len(choose([source])) <= MOST
        source.hollow()
    assert time.process_time() - began < 20


RAISED = (
    "tests/test_a.py:9: \n_ _ _\n\n>   {line}\nE   AttributeError: 'C' object has no attribute 'm'\n\n{place}"
)


@pytest.mark.parametrize(
    ("message", "lacks"),
    [
        ("tests/test_a.py:1: in <module>\nE   ImportError: cannot import name 'mul' from 'calc'", True),
        ("E       ModuleNotFoundError: No module named 'calc.extra'", True),
        ("E       AttributeError: module 'calc' has no attribute 'mul'", True),
        ("E       AttributeError: 'Calc' object has no attribute 'mul'", True),
        ("E       AssertionError: assert False\nE        +  where False = hasattr(calc, 'mul')", True),
        ("NameError: name 'mul' is not defined", True),
        ("E       AttributeError: 'NoneType' object has no attribute 'price'", False),
        ("E       assert 3 == 4", False),
        ("E       AssertionError: ImportError: no", False),
        ("E" + "\n" * 100_000, False),
        (RAISED.format(place="src/calc.py:4: AttributeError", line="self._mul(3)"), False),
        (RAISED.format(place='  File "/workspace/src/calc.py", line 4, in mul', line="self._mul(3)"), False),
        (RAISED.format(place="src/calc.py:4: AttributeError", line="def __getattr__(name):"), True),
        (RAISED.format(place="/opt/venv/lib/model.py:4: AttributeError", line="raise error"), True),
        (RAISED.format(place="venv/site-packages/model.py:4: AttributeError", line="raise error"), True),
        (RAISED.format(place="tests/helpers.py:4: AttributeError", line="calc.mul(3)"), True),
    ],
)
def test_a_failure_for_want_of_a_name_is_told_from_others(message: str, lacks: bool) -> None:
    assert lacks_name(message) is lacks


def survivor(first: int, last: int, description: str, unit: str = "f", kind: str = "detail") -> Mutant:
    return Mutant("a.py", first, last, description, kind, unit, 1, "", 0, 0, "")  # type: ignore[arg-type]


def test_adjacent_survivors_of_a_function_are_one_entry() -> None:
    survivors = [
        survivor(9, 9, "`1` becomes `2`"),
        survivor(2, 2, "`<` becomes `>=`"),
        survivor(3, 4, "`a` is negated"),
        survivor(5, 5, "`b` is negated", unit="g"),
        survivor(20, 30, "h() returns nothing", unit="h", kind="body"),
        survivor(21, 21, "`2` becomes `3`", unit="h"),
    ]
    assert merge(survivors) == [
        Unguarded(file="a.py", first=2, last=4, mutant="`<` becomes `>=`, `a` is negated"),
        Unguarded(file="a.py", first=5, last=5, mutant="`b` is negated"),
        Unguarded(file="a.py", first=9, last=9, mutant="`1` becomes `2`"),
        Unguarded(file="a.py", first=20, last=30, mutant="h() returns nothing"),
    ]


NEW = "tests.test_double::test_double"
CLAMP = MATHS["maths.py"] + "\n\ndef clamp(a):\n    if a < 0:\n        return 0\n    return a\n"


def calling(body: str) -> dict[str, str]:
    return {**DOUBLE, "tests/test_double.py": f"import maths\n\n\ndef test_double():\n    {body}\n"}


@pytest.mark.bubblewrap
async def test_a_strong_test_notices_every_mutant(project: Make) -> None:
    here = project(MATHS)
    proof = await here.prove(DOUBLE)
    assert proof.proves and proof.fail_to_pass == [NEW] and not proof.unguarded
    assert proof.strength and proof.strength.killed == proof.strength.tried > 0
    told = [data["what"] for type, data in here.events if type == "sandbox.started"]
    assert "mutant 1 of 3: maths.py:6 double() returns nothing" in told
    assert compare(Proof.model_validate_json(proof.model_dump_json()), proof) == []


KEPT = """\
import maths


def test_double():
    assert maths.add(2) == 4


def test_sum():
    assert maths.add(2, 3) == 5


def test_call():
    maths.add(2, 3)
"""


@pytest.mark.bubblewrap
async def test_a_case_that_passes_on_the_base_and_notices_a_mutant_is_a_guard(project: Make) -> None:
    code = "def add(a, b=None):\n    return a + (a if b is None else b)\n"
    proof = await project(MATHS).prove({"maths.py": code, "tests/test_double.py": KEPT})
    assert proof.fail_to_pass == [NEW] and not proof.unguarded
    assert proof.guards == ["tests.test_double::test_sum"]
    assert proof.vacuous == ["tests.test_double::test_call"]
    told = summarize(proof.model_dump(), ())
    assert "1 new case guards what worked before" in told.figures
    assert [text for text in told.weaknesses if "test_call" in text and "test_sum" not in text]


@pytest.mark.bubblewrap
async def test_a_weak_test_leaves_lines_unguarded(project: Make) -> None:
    test = "from maths import clamp\n\n\ndef test_clamp():\n    assert clamp(-4) == 0\n    clamp(4)\n"
    proof = await project(MATHS).prove({"maths.py": CLAMP, "tests/test_clamp.py": test})
    assert proof.proves and proof.strength and proof.strength.killed < proof.strength.tried
    assert [(each.file, each.first) for each in proof.unguarded] == [("maths.py", 6)]
    assert "`0` becomes `1`" in proof.unguarded[0].mutant


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("body", "proves"),
    [
        ("maths.double(4)", False),
        ("assert hasattr(maths, 'double')", False),
        ("from maths import double", False),
        ("assert maths.double(4) == 8", True),
    ],
)
async def test_a_test_that_only_wants_a_name_must_notice_a_mutant(
    project: Make, body: str, proves: bool
) -> None:
    proof = await project(MATHS).prove(calling(body))
    assert proof.green and proof.proves is proves
    assert proof.vacuous == ([] if proves else [NEW])
    assert [case.idle for case in proof.cases if case.new] == [not proves]


@pytest.mark.bubblewrap
@pytest.mark.parametrize("config", ['mutants = "off"\n', '[test]\nmutants = "off"\n'])
async def test_the_base_can_switch_mutants_off(project: Make, config: str) -> None:
    proof = await project(MATHS | {".autocode.toml": config}).prove(DOUBLE)
    assert proof.proves and proof.strength is None and not proof.unguarded
    assert proof.fail_to_pass == [NEW]


@pytest.mark.bubblewrap
async def test_a_change_cannot_switch_its_mutants_off(project: Make) -> None:
    proof = await project(MATHS).prove(calling("maths.double(4)") | {".autocode.toml": 'mutants = "off"\n'})
    assert proof.strength and proof.vacuous == [NEW]


@pytest.fixture
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time enough for all mutants, however busy the machine is."""
    monkeypatch.setattr("nodes.check.mutation.trial._TIMES", 50)


@pytest.mark.bubblewrap
async def test_a_mutant_that_never_ends_is_noticed_by_its_time(project: Make, plenty: None) -> None:
    count = "def count(n):\n    i = 0\n    while i < n:\n        i += 1\n    return i\n"
    test = "from count import count\n\n\ndef test_count():\n    assert [count(3), count(0)] == [3, 0]\n"
    here = project(MATHS)
    proof = await here.prove({"count.py": count, "tests/test_count.py": test})
    assert proof.strength and (proof.strength.killed, proof.strength.tried) == (5, 5)
    told = " ".join(data["what"] for type, data in here.events if type == "sandbox.started")
    assert "`i += 1` is removed" in told


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("check", "proves"), [("double(4) == 8", True), ("double(4) is not NotImplemented", False)]
)
async def test_an_old_case_that_asks_for_a_new_name_proves_what_it_asserts_of_it(
    project: Make, plenty: None, check: str, proves: bool
) -> None:
    text = MATHS["tests/test_maths.py"].rstrip("\n")
    edited = f"import maths\n{text}\n    assert maths.{check}\n"
    proof = await project(MATHS).prove({"maths.py": DOUBLE["maths.py"], "tests/test_maths.py": edited})
    assert proof.green and proof.fail_to_pass == ([ADD] if proves else [])


@pytest.mark.bubblewrap
async def test_what_does_not_fit_into_the_time_is_not_tried(
    project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.check.mutation.trial._TIMES", 0)
    proof = await project(MATHS).prove(DOUBLE)
    assert proof.proves and proof.strength is None and not proof.unguarded


@pytest.mark.bubblewrap
async def test_tests_that_start_the_product_as_a_program_guard_it(project: Make, plenty: None) -> None:
    tool = "import sys\n\n\ndef main():\n    print(int(sys.argv[1]) + 1)\n\n\nmain()\n"
    test = (
        "import subprocess, sys\n\n\ndef test_tool():\n"
        "    done = subprocess.run([sys.executable, 'tool.py', '2'], capture_output=True, text=True)\n"
        "    assert done.stdout == '3\\n'\n"
    )
    base = MATHS | {"tool.py": tool.replace("+ 1", ""), "tests/test_tool.py": test.replace("3\\", "2\\")}
    new = {"tests/test_more.py": "from maths import add\n\n\ndef test_more():\n    assert add(2, 2) == 4\n"}
    proof = await project(base | {".autocode.toml": ""}).prove(
        {"tool.py": tool, "tests/test_tool.py": test, **new}
    )
    assert proof.strength and proof.strength.killed == proof.strength.tried > 2


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("check", "unguarded"), [("exit 0\n", ["src/run.sh"]), ('test "$(sh src/run.sh)" != no\n', [])]
)
async def test_a_command_that_tells_its_exit_code_alone_must_fail_without_a_hunk(
    project: Make, plenty: None, check: str, unguarded: list[str]
) -> None:
    config = '[test]\ncommand = "sh check.sh"\n'
    here = project({".autocode.toml": config, "check.sh": check, "src/run.sh": "echo no\n"})
    proof = await here.prove({"src/run.sh": "echo yes\n"})
    assert proof.green and [lines.file for lines in proof.unguarded] == unguarded
    assert proof.strength and (proof.strength.killed, proof.strength.tried) == (1 - len(unguarded), 1)
