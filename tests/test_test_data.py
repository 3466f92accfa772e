"""Data files of tests: who may write them, where they lie when a test runs, and who reads them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from projects import ADD, MATHS, SUBTRACT, Files, Project, fates
from runs import Bench, block, script

from nodes.check.base_tests.test_side import TestSide
from nodes.check.change import CheckedChange
from nodes.check.suites.suite import Suite
from nodes.check.suspicion.special_cases import data_literals
from tools.workspace import Workspace

Make = Callable[[Files], Project]

READS = (
    "import json\nfrom pathlib import Path\n\nimport pytest\nfrom maths import add\n\n"
    "CASES = json.loads(Path(__file__).with_name('cases.json').read_text())\n\n\n"
    "@pytest.mark.parametrize(('a', 'b', 'sum'), CASES)\ndef test_cases(a, b, sum):\n"
    "    assert add(a, b) == sum\n"
)
TABLE = MATHS | {"tests/test_table.py": READS, "tests/cases.json": "[[1, 2, 3]]"}
TEXTS: Files = {"maths.py": "def add(a, b):\n    return a + int(b)\n"}
MUL_DATA = block(
    "tests/test_mul.py",
    "import json\nfrom pathlib import Path\n\nfrom calc import mul\n\n\ndef test_mul():\n"
    "    a, b, product = json.loads((Path(__file__).parent / 'data/mul.json').read_text())\n"
    "    assert mul(a, b) == product",
)


def read(path: Path, base: Files, change: Files) -> tuple[CheckedChange, Workspace]:
    path.mkdir()
    workspace = Workspace.init(path)
    before = workspace.write(workspace.begin().snapshot, base, "base")
    return CheckedChange.read(path, before, workspace.write(before, change, "change")), workspace


async def test_the_tester_writes_data_that_its_tests_read_and_no_product(bench: Bench) -> None:
    answer = f"{MUL_DATA}\n{block('tests/data/mul.json', '[3, 4, 12]')}"
    bench.desk.on("You are the tester.*calc.py is no test file and no data of tests", answer)
    script(bench.desk, tester=block("calc.py", "def mul(a, b):\n    return 12"))
    run = await bench.run()
    assert run.end.status == "verified" and run.summary.headline == "Verified"
    assert run.proof.fail_to_pass == ["tests.test_mul::test_mul"]


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("tests/cases.yml", True),
        ("tests/fixtures/deep/a.json", True),
        ("tests/helpers.py", True),
        ("lib/cases.yml", True),  # beside lib/test_lib.py
        ("lib/data/golden.txt", True),
        ("lib/extra.py", False),
        ("suite/tests/more/cases.yml", True),  # a folder of tests without code
        ("tools/tests/cases.yml", False),  # beside code that is no test
        ("docs/cases.yml", False),
        ("calc.py", False),
        ("lib/rates.yml", False),  # the product's
        ("tests/conftest.py", False),
    ],
)
def test_a_tester_writes_below_the_folders_of_tests_alone(path: str, fits: bool) -> None:
    files = ["calc.py", "tests/test_calc.py", "tests/conftest.py", "lib/test_lib.py", "lib/rates.yml"]
    files += ["suite/tests/a.yml", "tools/tests/runner.py"]
    side = TestSide(Suite(("pytest",)), files)
    assert side.admits(path, is_new=path not in files) is fits


def test_new_tests_find_their_data_on_the_base_and_the_products_is_not_there(tmp_path: Path) -> None:
    test = "def test_rates():\n    open('lib/rates.yml'), open('lib/cases.yml')\n"
    change = {"lib/test_rates.py": test, "lib/rates.yml": "", "lib/cases.yml": "", "lib/other.yml": ""}
    base = MATHS | {"lib/rates.py": ""}
    used = change | {"lib/rates.py": "open('lib/rates.yml')\n", "tests/data/a.yml": ""}
    seen, workspace = read(tmp_path / "repo", base, used)
    assert seen.data_beside_tests == ("lib/cases.yml",) and seen.is_of_tests("lib/cases.yml")
    added = workspace.changes(seen.base, seen.base_with_new_tests or "")
    assert {each.path for each in added} == {"lib/cases.yml", "lib/test_rates.py", "tests/data/a.yml"}


@pytest.mark.parametrize(
    ("base", "data", "readers"),
    [
        ({"tests/test_a.py": "open('tests/data/a.txt')\n"}, "tests/data/a.txt", {"tests/test_a.py"}),
        ({"tests/test_a.py": "load('table')\n"}, "tests/data/table.txt", {"tests/test_a.py"}),
        ({"tests/test_a.py": "glob('tests/data')\n"}, "tests/data/b.txt", {"tests/test_a.py"}),
        ({"tests/test_a.py": "HERE.glob('*.yml')\n"}, "tests/b.yml", {"tests/test_a.py"}),
        ({"tests/conftest.py": "open('data/a.txt')\n"}, "tests/data/a.txt", {"tests/test_maths.py"}),
        ({"tests/test_a.py": "database = 'a.text'\n"}, "tests/data/a.txt", set()),
        (
            {"tests/test_a.py": "ROOT / 'suite'\n", "suite/tests/b.json": ""},
            "suite/tests/a.json",
            {"tests/test_a.py"},
        ),
    ],
)
def test_who_reads_changed_data_is_known_by_names(
    tmp_path: Path, base: Files, data: str, readers: set[str]
) -> None:
    seen, _ = read(tmp_path / "repo", MATHS | dict(base), {data: "1\n"})
    assert set(seen.readers) == readers


@pytest.mark.bubblewrap
async def test_a_case_that_new_data_makes_is_a_new_case_of_its_reader(project: Make) -> None:
    proof = await project(TABLE).prove({**TEXTS, "tests/cases.json": '[[1, 2, 3], [1, "2", 3]]'})
    assert len(proof.fail_to_pass) == 1 and proof.fail_to_pass[0].startswith("tests.test_table::test_cases[")
    assert proof.proves and proof.contradicted == []
    assert fates(proof)[ADD] == ("passed", "passed")


@pytest.mark.bubblewrap
async def test_changed_data_does_not_weaken_the_tests_of_the_base(project: Make) -> None:
    base = TABLE | {"tests/test_table.py": READS.replace("CASES)\n", "CASES, ids=['all'])\n")}
    proof = await project(base).prove(SUBTRACT | {"tests/cases.json": "[[1, 2, -1]]"})
    assert {"tests.test_table::test_cases[all]", ADD} >= set(proof.contradicted) != set()


def test_the_values_of_data_are_literals_of_a_test() -> None:
    yaml = "- path: /a/b\n  status: 418\n\n- path: '/c'\n  status: 2.5\n"
    first, second = data_literals(yaml)
    assert {"'/a/b'", "418"} <= first and {"'/c'", "2.5"} <= second and "418" not in second
    assert data_literals(yaml, old=yaml) == []
    assert {"'in'", "7"} <= data_literals('[{"in": 7}]')[0]


SPECS = (
    "from pathlib import Path\n\nimport pytest\nfrom marks import html\n\n"
    "CASES = [line.split('=') for line in Path('{path}').read_text().splitlines()]\n\n\n"
    "@pytest.mark.parametrize(('text', 'expected'), CASES)\ndef test_cases(text, expected):\n"
    "    assert html(text) == expected\n"
)
MARKS = "from pathlib import Path\n\n\ndef html(text):\n    return f'<{tag}>{{text}}</{tag}>'\n"


@pytest.mark.bubblewrap
@pytest.mark.parametrize("path", ["tests/fixtures/spec.txt", "spec.txt"])
async def test_an_expectation_in_an_id_may_change_if_the_critic_finds_it_in_the_task(
    project: Make, path: str
) -> None:
    source = MARKS + ("\nSPEC = Path('spec.txt')\n" if path == "spec.txt" else "")
    base = {
        "marks.py": source.format(tag="b"),
        path: "a=<b>a</b>\nb=<b>b</b>\n",
        "tests/test_marks.py": SPECS.format(path=path),
    }
    change = {"marks.py": source.format(tag="i"), path: "a=<i>a</i>\nb=<i>b</i>\nc=<i>c</i>\n"}
    proof = await project(base).prove(change, untestable="the data has the cases")
    case = "tests.test_marks::test_cases[{0}-<b>{0}</b>]"
    assert proof.problems == [] and proof.contradicted == [case.format("a"), case.format("b")]
    # Where tests alone read the data, its new cases fail without the change.
    assert len(proof.fail_to_pass) == (3 if path.startswith("tests/") else 0)
