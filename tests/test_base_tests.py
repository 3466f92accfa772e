"""The files that run in the base's version when the base's tests judge a change."""

from collections.abc import Callable
from pathlib import Path

import pytest
from projects import ADD, DOUBLE, MATHS, SUBTRACT, Files, Project

from nodes.check.base_tests.doctests import with_base_examples
from nodes.check.change import CheckedChange
from sandbox.base import Limits
from tools.workspace import Workspace

Make = Callable[[Files], Project]

USES = "from maths import add\nfrom {module} import same\n\n\ndef test_add():\n    same(add(1, 2), 3)\n"
SAME = "def same(a, b):\n    assert a == b\n"
GOLDEN = "from maths import add\n\n\ndef test_add():\n    assert str(add(1, 2)) == open('three.txt').read()\n"
PLUGIN = "import pytest\n\n\n@pytest.fixture\ndef three():\n    return 3\n"
EMPTY = "def test_add():\n    pass\n"
DOCUMENTED = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n    return a + b\n'


def old_side(path: Path, base: Files, change: Files) -> dict[str, str | None]:
    """Return the files of a change that run in another version with the base's tests."""
    path.mkdir()
    workspace = Workspace.init(path)
    before = workspace.write(workspace.begin().snapshot, base, "base")
    after = workspace.write(before, change, "change")
    read = CheckedChange.read(path, before, after)
    if read.head_with_old_tests is None:
        return {}
    changes = workspace.changes(after, read.head_with_old_tests)
    return {each.path: workspace.text(read.head_with_old_tests, each.path) for each in changes}


@pytest.mark.parametrize(
    ("base", "change", "returned"),
    [
        ({}, {"maths.py": DOUBLE["maths.py"]}, {}),
        ({}, {"README.md": "maths\n"}, {}),
        ({}, DOUBLE, {"tests/test_double.py": None}),
        ({}, {"tests/test_maths.py": ""}, {"tests/test_maths.py": MATHS["tests/test_maths.py"]}),
        ({}, {"tests/test_maths.py": None}, {"tests/test_maths.py": MATHS["tests/test_maths.py"]}),
        ({}, {"tests/__init__.py": "", "conftest.py": ""}, {"tests/__init__.py": None, "conftest.py": None}),
        ({"tests/three.txt": "3"}, {"tests/three.txt": "4"}, {"tests/three.txt": "3"}),
        ({}, {"pytest.ini": "[pytest]\naddopts = -k no\n"}, {"pytest.ini": None}),
        ({"setup.cfg": "[a]\nb=1\n"}, {"setup.cfg": "[a]\nb=2\n"}, {}),
        (
            {"setup.cfg": "[a]\nb=1\n"},
            {"setup.cfg": "[a]\nb=2\n[tool:pytest]\naddopts=-x\n"},
            {"setup.cfg": "[a]\nb=1\n"},
        ),
        (
            {},
            {"src/sitecustomize.py": "", "src/a.pth": "import b\n"},
            {"src/sitecustomize.py": None, "src/a.pth": None},
        ),
        # Data that only tests name is theirs. A file that the product reads is not.
        ({"three.txt": "3", "tests/test_maths.py": GOLDEN}, {"three.txt": "-1"}, {"three.txt": "3"}),
        (
            {"three.txt": "3", "tests/test_maths.py": GOLDEN, "io.py": "open('three.txt')\n"},
            {"three.txt": "-1"},
            {},
        ),
        ({"tests/test_maths.py": "open('CHANGELOG.md')\n", "CHANGELOG.md": "1"}, {"CHANGELOG.md": "2"}, {}),
        # So are helpers, unless the product imports them.
        (
            {"helpers.py": SAME, "tests/test_maths.py": USES.format(module="helpers")},
            {"helpers.py": "same = print\n"},
            {"helpers.py": SAME},
        ),
        (
            {
                "helpers.py": SAME,
                "tests/test_maths.py": USES.format(module="helpers"),
                "app.py": "import helpers\n",
            },
            {"helpers.py": "same = print\n"},
            {},
        ),
        (
            {"plug.py": PLUGIN, "conftest.py": "pytest_plugins = ['plug']\n"},
            {"plug.py": PLUGIN.replace("3", "-1")},
            {"plug.py": PLUGIN},
        ),
        (
            {"maths.py": DOCUMENTED, "pytest.ini": "[pytest]\naddopts = --doctest-modules\n"},
            {"maths.py": DOCUMENTED.replace("a + b", "a - b").replace("    3\n", "    -1\n")},
            {"maths.py": DOCUMENTED.replace("a + b", "a - b")},
        ),
    ],
)
def test_all_that_the_bases_tests_consist_of_is_put_back(
    tmp_path: Path, base: Files, change: Files, returned: dict[str, str | None]
) -> None:
    assert old_side(tmp_path / "repo", MATHS | dict(base), change) == returned


def test_a_test_side_that_cannot_be_put_back_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "repo"
    path.mkdir()
    workspace = Workspace.init(path)
    before = workspace.write(workspace.begin().snapshot, MATHS, "base")
    after = workspace.write(before, {"tests/test_maths.py": None, "tests": "a file"}, "change")
    read = CheckedChange.read(path, before, after)
    assert read.head_with_old_tests is None and "tests" in read.irrevocable


@pytest.mark.parametrize(
    ("base", "head", "mixed"),
    [
        ("x = 1\n", "x = 2\n", "x = 2\n"),
        ('"""A\n>>> 1\n1\n"""\n', '"""B"""\nx = "ü"\n', '"""A\n>>> 1\n1\n"""\nx = "ü"\n'),
        (
            "class A:\n    def f(self):\n        '''>>> 1'''\n",
            "é = 'ü'\nclass A:\n    def f(self): '''>>> 2'''; é = 1\n",
            "é = 'ü'\nclass A:\n    def f(self): '''>>> 1'''; é = 1\n",
        ),
        ("'''>>> 1'''\n", "def (:\n", "def (:\n"),
        ("'''no example'''\n", "'''another'''\n", "'''another'''\n"),
    ],
)
def test_docstrings_with_examples_come_from_the_base(base: str, head: str, mixed: str) -> None:
    assert with_base_examples(base, head) == mixed


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    "weaker",
    [
        {"tests/__init__.py": "import maths\n\nmaths.add = lambda a, b: a + b\n"},
        {"tests/test_a.py": "import maths\n\nmaths.add = lambda a, b: a + b\n\n\ndef test_a():\n    pass\n"},
    ],
    ids=["package", "module"],
)
async def test_a_file_that_mends_the_product_for_tests_is_not_there(project: Make, weaker: Files) -> None:
    proof = await project(MATHS).prove(SUBTRACT | dict(weaker))
    assert proof.green and proof.contradicted == [ADD]


@pytest.mark.bubblewrap
@pytest.mark.parametrize(("end", "seconds"), [("time.sleep(60)", 12), ("os._exit(0)", 60)])
async def test_a_weakened_test_whose_old_text_does_not_end_is_contradicted(
    project: Make, end: str, seconds: float
) -> None:
    text = f"import os, time\nimport maths\n\nif maths.add(1, 2) != 3:\n    {end}\n\n\n{EMPTY}"
    other = {"tests/test_other.py": "def test_other():\n    pass\n"}
    here = project(MATHS | other | {"tests/test_maths.py": text})
    proof = await here.prove(SUBTRACT | {"tests/test_maths.py": EMPTY}, Limits(seconds=seconds))
    assert proof.green and proof.contradicted == [ADD]
