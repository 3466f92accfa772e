from collections.abc import Collection, Iterable, Mapping

import pytest

from nodes.check.selection import ImportGraph

TREE = {
    "pkg/__init__.py": "",
    "pkg/a.py": "from . import b\n",
    "pkg/b.py": "from .deep.c import thing\n",
    "pkg/deep/__init__.py": "",
    "pkg/deep/c.py": "from ..d import other as thing\n",
    "pkg/d.py": "other = 1\n",
    "pkg/lone.py": "",
    "src/shop/__init__.py": "from shop.cart import Cart\n",
    "src/shop/cart.py": "class Cart: pass\n",
    "lib/paid/core.py": "",
    "nested/project/tool/run.py": "",
    "tests/conftest.py": "from tests_support import kit\n",
    "tests_support.py": "kit = 1\n",
    "tests/helper.py": "import pkg.lone\n",
    "tests/test_a.py": "import pkg.a\n",
    "tests/test_b.py": "def test():\n    from pkg import b\n",
    "tests/test_lone.py": "import helper\n",
    "tests/test_shop.py": "import shop\n",
    "tests/test_dynamic.py": "import importlib\nimportlib.import_module('pkg.lone')\n",
    "tests/test_paid.py": "import paid.core\n",
    "tests/test_tool.py": "from tool import run\n",
    "tests/test_broken.py": "def (:\n",
    "tests/sub/conftest.py": "",
    "tests/sub/test_sub.py": "import json\n",
    "test_root.py": "import os\n",
    "plug.py": "",
    "far/conftest.py": "pytest_plugins = ['plug']\n",
    "far/test_far.py": "",
}
TESTS = [path for path in TREE if path.rpartition("/")[2].startswith("test_")]


def affected(
    sources: Mapping[str, str], changed: Collection[str], tests: Collection[str], roots: Iterable[str] = ()
) -> list[str]:
    """Return the test files that are changed, or import a changed file directly or through others."""
    return sorted(ImportGraph(sources, roots).importers(changed) & set(tests))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("pkg/d.py", ["tests/test_a.py", "tests/test_b.py"]),
        ("pkg/a.py", ["tests/test_a.py"]),
        ("pkg/lone.py", ["tests/test_dynamic.py", "tests/test_lone.py"]),
        ("pkg/deep/__init__.py", ["tests/test_a.py", "tests/test_b.py"]),
        (
            "pkg/__init__.py",
            ["tests/test_a.py", "tests/test_b.py", "tests/test_dynamic.py", "tests/test_lone.py"],
        ),
        ("src/shop/cart.py", ["tests/test_shop.py"]),
        ("lib/paid/core.py", ["tests/test_paid.py"]),
        ("nested/project/tool/run.py", ["tests/test_tool.py"]),
        ("tests/sub/conftest.py", ["tests/sub/test_sub.py"]),
        ("tests_support.py", sorted(path for path in TESTS if path.startswith("tests/"))),
        ("tests/test_broken.py", ["tests/test_broken.py"]),
        ("plug.py", ["far/test_far.py"]),
        ("README.md", []),
    ],
)
def test_a_change_reaches_the_tests_that_import_it(changed: str, expected: list[str]) -> None:
    assert affected(TREE, [changed], TESTS, ["lib"]) == expected


def test_a_deleted_module_still_reaches_the_tests_that_import_it() -> None:
    files = TREE | {"pkg/gone.py": "", "tests/test_gone.py": "import pkg.gone\n"}
    assert affected(files, ["pkg/gone.py"], [*TESTS, "tests/test_gone.py"]) == ["tests/test_gone.py"]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "x = " + "1+" * 20_000 + "1",
        "if 1:\n" * 500,
        "\0",
        "from .......... import x\n",
    ],
    ids=["brackets", "signs", "sum", "blocks", "null", "dots"],
)
def test_a_hostile_source_is_passed_over(text: str) -> None:
    files = {"bad.py": text, "test_bad.py": "import bad\n"}
    assert affected(files, ["bad.py"], ["test_bad.py"]) == ["test_bad.py"]


def test_thousands_of_files_are_looked_through_in_seconds() -> None:
    files = {f"pkg/m{at}.py": f"from pkg.m{at + 1} import x\nimport os, json\n" for at in range(5_000)}
    files["test_all.py"] = "import pkg.m0\n"
    assert affected(files, ["pkg/m4999.py"], ["test_all.py"]) == ["test_all.py"]
