from collections.abc import Callable

import pytest
from projects import ADD, DOUBLE, MATHS, SUBTRACT, Files, Project, fates, suspects

from nodes.check import compare
from nodes.proof import CaseProof, Proof

pytestmark = [pytest.mark.bubblewrap]

Make = Callable[[Files], Project]

NEW = "tests.test_double::test_double"
TRUE = "def test_true():\n    assert True\n"
OTHER = {"test_other.py": "def test_other():\n    pass\n"}


async def test_a_new_test_that_fails_without_the_change_proves_it(project: Make) -> None:
    here = project(MATHS)
    proof = await here.prove(DOUBLE)
    assert proof.proves and proof.fail_to_pass == [NEW]
    assert fates(proof) == {ADD: ("passed", "passed"), NEW: ("error", "passed")}
    assert (proof.passed, proof.total, proof.exit_code) == (2, 2, 0)
    assert (proof.baseline, proof.scope, proof.grade) == ("known", "all", "tests")
    assert proof.tree == here.workspace.tree(proof.head)
    assert proof.command[:3] == ["python", "-m", "pytest"]
    assert (proof.backend, proof.image) == (here.sandbox.name, await here.sandbox.identity())
    assert not (proof.vacuous or proof.contradicted or proof.suspicious or proof.failures)
    again = await here.prove(DOUBLE)
    assert compare(Proof.model_validate_json(proof.model_dump_json()), again) == []


async def test_what_runs_is_told_and_the_base_is_remembered(project: Make) -> None:
    here = project(MATHS)
    await here.prove({"maths.py": DOUBLE["maths.py"]})
    assert here.started == ["the base", "the cases of the change", "the change"]
    assert "1 passed" in "".join(data["text"] for type, data in here.events if type == "sandbox.output")
    here.events.clear()
    proof = await here.prove({"maths.py": MATHS["maths.py"] + "\n"}, untestable="only layout")
    assert here.started == ["the cases of the change", "the change"]
    assert proof.proves and proof.untestable == "only layout"


async def test_a_change_without_a_telling_test_is_green_but_proves_nothing(project: Make) -> None:
    proof = await project(MATHS).prove({"maths.py": DOUBLE["maths.py"], "tests/test_true.py": TRUE})
    assert proof.green and not proof.proves
    assert proof.vacuous == ["tests.test_true::test_true"]


async def test_a_case_added_to_an_old_file_is_new_there(project: Make) -> None:
    added = "\n\ndef test_double():\n    import maths\n\n    assert maths.double(2) == 4\n"
    edited = MATHS["tests/test_maths.py"] + added
    proof = await project(MATHS).prove({"maths.py": DOUBLE["maths.py"], "tests/test_maths.py": edited})
    assert proof.proves and not proof.contradicted
    assert fates(proof)["tests.test_maths::test_double"] == ("failed", "passed")


async def test_a_case_that_asks_for_more_than_it_did_proves_the_change(project: Make) -> None:
    more = MATHS["tests/test_maths.py"] + "    assert add('1', '2') == 3\n"
    change = {"maths.py": "def add(a, b):\n    return int(a) + int(b)\n", "tests/test_maths.py": more}
    proof = await project(MATHS).prove(change)
    assert proof.proves and proof.fail_to_pass == [ADD] and not proof.contradicted


async def test_a_helper_beside_the_tests_cannot_make_a_test_fail_on_the_base(project: Make) -> None:
    uses = "from maths import add\nfrom tests.tools import THREE\n\n\n"
    text = uses + "def test():\n    assert add(1, 2) == THREE\n"
    change = {"tests/tools.py": "THREE = 3\n", "tests/test_more.py": text}
    proof = await project(MATHS | {"tests/__init__.py": ""}).prove(change)
    assert proof.vacuous == ["tests.test_more::test"] and not proof.fail_to_pass


async def test_breaking_what_passed_is_red_with_its_output(project: Make) -> None:
    proof = await project(MATHS).prove(SUBTRACT)
    assert not proof.green
    assert proof.problems == [f"1 case failed that passed on the base: {ADD}"]
    assert [failure.id for failure in proof.failures] == [ADD]
    assert "assert -1 == 3" in proof.failures[0].text


async def test_what_failed_on_the_base_is_not_blamed(project: Make) -> None:
    broken = {"tests/test_old.py": "def test_broken():\n    assert 1 == 2\n"}
    proof = await project(MATHS | broken).prove(DOUBLE)
    assert proof.proves and not proof.failures
    assert proof.exit_code == 1
    assert fates(proof)["tests.test_old::test_broken"] == ("failed", "failed")


async def test_a_new_test_that_fails_on_the_change_is_red(project: Make) -> None:
    proof = await project(MATHS).prove({"tests/test_double.py": DOUBLE["tests/test_double.py"]})
    assert proof.problems == ["1 case failed: ::tests.test_double"]
    assert "cannot import name 'double'" in proof.failures[0].text


async def test_deleting_a_case_or_a_test_file_is_red(project: Make) -> None:
    zero = MATHS["tests/test_maths.py"] + "\n\ndef test_zero():\n    assert add(0, 0) == 0\n"
    old = {"tests/test_maths.py": zero, "tests/test_old.py": "def test_old():\n    assert False\n"}
    proof = await project(MATHS | old).prove({**MATHS, "tests/test_old.py": None})
    assert proof.problems == [
        "1 case passed on the base and vanished: tests.test_maths::test_zero",
        "the test file tests/test_old.py was deleted",
    ]


async def test_a_renamed_parameter_is_followed_and_a_deleted_one_is_missed(project: Make) -> None:
    text = (
        "import pytest\n\n\n@pytest.mark.parametrize('word', ['a::b', 'x[1]', 'ü', '', '\\x01'])\n"
        "def test_word(word):\n    pass\n"
    )
    here = project({"test_words.py": text})
    assert (await here.prove({"README.md": "words\n"})).green
    renamed = await here.prove({"test_words.py": text.replace("x[1]", "y[1]")})
    assert renamed.green and not renamed.contradicted
    proof = await here.prove({"test_words.py": text.replace("'x[1]', ", "")})
    assert proof.problems == ["1 case passed on the base and vanished: test_words::test_word[x[1]]"]


async def test_a_parameter_with_an_edited_expectation_is_contradicted_not_vanished(project: Make) -> None:
    text = (
        "import pytest\nfrom maths import add\n\n\n"
        "@pytest.mark.parametrize('a,b,sum', [(1, 2, 3), (2, 2, 4)])\n"
        "def test_sum(a, b, sum):\n    assert add(a, b) == sum\n"
    )
    weak = text.replace("(1, 2, 3), (2, 2, 4)", "(1, 2, -1), (2, 2, 0)")
    proof = await project(MATHS | {"tests/test_maths.py": text}).prove(
        SUBTRACT | {"tests/test_maths.py": weak}
    )
    assert proof.green
    assert proof.contradicted == ["tests.test_maths::test_sum[1-2-3]", "tests.test_maths::test_sum[2-2-4]"]


async def test_ids_that_hold_the_time_may_differ_in_every_run(project: Make) -> None:
    text = (
        "import time\nimport pytest\nfrom maths import add\n\n\n"
        "@pytest.mark.parametrize('now', [str(time.time_ns()), 'never'])\ndef test_add(now):\n"
        "    assert add(1, 2) == {}\n"
    )
    here = project(MATHS | {"tests/test_maths.py": text.format(3)})
    proof = await here.prove(DOUBLE | {"tests/test_maths.py": text.format("2 + 1")})
    assert proof.proves and proof.contradicted == []
    proof = await here.prove(SUBTRACT | {"tests/test_maths.py": text.format("-1")})
    assert proof.green and len(proof.contradicted) == 2


@pytest.mark.parametrize(
    ("name", "expected", "problems", "contradicted"),
    [
        ("test_add_numbers", "3", [], []),
        ("test_adds", "-1", [], [ADD]),
        ("test_subtraction", "-1", [f"1 case passed on the base and vanished: {ADD}"], [ADD]),
    ],
)
async def test_a_renamed_test_is_followed_and_its_old_text_judges(
    project: Make, name: str, expected: str, problems: list[str], contradicted: list[str]
) -> None:
    text = MATHS["tests/test_maths.py"].replace("test_add", name).replace("== 3", f"== {expected}")
    change = {"tests/test_maths.py": text, **(SUBTRACT if contradicted else {})}
    proof = await project(MATHS).prove(change)
    assert (proof.problems, proof.contradicted) == (problems, contradicted)


async def test_newly_skipped_cases_are_red(project: Make) -> None:
    text = "import pytest\n\n\ndef test_it():\n    pass\n"
    here = project(
        {"test_skip.py": text, "test_xfail.py": text, "test_module.py": text, "test_kept.py": text}
    )
    proof = await here.prove(
        {
            "test_skip.py": text.replace("def", "@pytest.mark.skip\ndef"),
            "test_xfail.py": text.replace("def", "@pytest.mark.xfail\ndef").replace("pass", "assert False"),
            "test_module.py": text.replace("def", "pytest.skip('', allow_module_level=True)\n\n\ndef"),
        }
    )
    assert proof.problems == [
        "1 case passed on the base and vanished: test_module::test_it",
        "2 cases passed on the base and got skipped: test_skip::test_it, test_xfail::test_it",
    ]


async def test_a_weakened_test_is_contradicted_by_its_old_text(project: Make) -> None:
    weak = "from maths import add\n\n\ndef test_add():\n    assert add(1, 2) is not None\n"
    proof = await project(MATHS).prove(SUBTRACT | {"tests/test_maths.py": weak})
    assert proof.green and proof.contradicted == [ADD]


async def test_what_lies_beside_the_tests_cannot_be_weakened_unseen(project: Make) -> None:
    test = "from maths import add\nfrom tests.tools import same\n\n\ndef test_add():\n    same(add(1, 2))\n"
    tools = (
        "import pathlib\n\nTHREE = pathlib.Path(__file__).with_name('three.txt')\n\n\n"
        "def same(value):\n    assert value == int(THREE.read_text())\n"
    )
    tests = {"tests/__init__.py": "", "tests/tools.py": tools, "tests/three.txt": "3"}
    here = project(MATHS | tests | {"tests/test_maths.py": test})
    for weaker in ({"tests/three.txt": "-1"}, {"tests/tools.py": "def same(value):\n    pass\n"}):
        proof = await here.prove(SUBTRACT | weaker)
        assert proof.green and proof.contradicted == [ADD]


async def test_a_file_that_no_longer_imports_fails_each_of_its_cases(project: Make) -> None:
    proof = await project(MATHS | OTHER).prove({"maths.py": "def plus(a, b):\n    return a + b\n"})
    assert fates(proof)[ADD] == ("passed", "error")
    assert "cannot import name 'add'" in proof.failures[0].text


async def test_tests_that_wait_for_their_module_are_not_blamed_and_not_new(project: Make) -> None:
    here = project(MATHS | {"tests/test_double.py": DOUBLE["tests/test_double.py"]})
    proof = await here.prove({"maths.py": DOUBLE["maths.py"]}, untestable="the test was there")
    assert fates(proof) == {ADD: ("passed", "passed"), NEW: ("error", "passed")}
    assert proof.proves and not proof.fail_to_pass


async def test_a_conftest_that_needs_the_change_fails_the_new_tests_on_the_base(project: Make) -> None:
    conftest = (
        "import pytest\nfrom maths import double\n\n\n@pytest.fixture\ndef eight():\n    return double(4)\n"
    )
    test = "def test_double(eight):\n    assert eight == 8\n"
    proof = await project(MATHS).prove({**DOUBLE, "conftest.py": conftest, "tests/test_double.py": test})
    assert proof.fail_to_pass == [NEW] and suspects(proof) == {"conftest.py"}


async def test_an_empty_repository_and_a_src_layout_work(project: Make) -> None:
    hello = "from hello import hello\n\n\ndef test_hello():\n    assert hello() == 'hello'\n"
    proof = await project({}).prove(
        {"src/hello/__init__.py": "def hello():\n    return 'hello'\n", "tests/test_hello.py": hello}
    )
    assert proof.fail_to_pass == ["tests.test_hello::test_hello"] and proof.proves
    assert proof.command[:2] == ["env", "PYTHONPATH=src"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"maths.py": ""}, "no test was collected"),
        (
            {"test_it.py": "import pytest\n\n\n@pytest.mark.skip\ndef test_it():\n    pass\n"},
            "every case was skipped",
        ),
    ],
)
async def test_a_check_in_which_nothing_ran_is_red(project: Make, files: Files, problem: str) -> None:
    proof = await project(files).prove({"README.md": "words\n"}, untestable="words alone")
    assert not proof.green and proof.problems == [problem]


async def test_unittest_classes_subtests_and_teardown_errors_are_read(project: Make) -> None:
    text = (
        "import unittest\n\nimport pytest\n\n\n"
        "class TestSub(unittest.TestCase):\n    def test_parts(self):\n        for part in range(3):\n"
        "            with self.subTest(part=part):\n                assert part != LIMIT\n\n\n"
        "@pytest.fixture\ndef place():\n    yield\n    assert LIMIT != 1\n\n\n"
        "def test_place(place):\n    pass\n"
    )
    proof = await project({"test_all.py": "LIMIT = 9\n" + text}).prove({"test_all.py": "LIMIT = 1\n" + text})
    assert fates(proof) == {
        "test_all.TestSub::test_parts": ("passed", "failed"),
        "test_all::test_place": ("passed", "error"),
    }


@pytest.mark.parametrize(
    "config",
    [
        "addopts = -q -q -s -x --color=yes",
        "addopts = --cov=maths -n 2 --strict-config\nrequired_plugins = pytest-cov\n"
        "asyncio_mode = auto\nfilterwarnings = error",
    ],
    ids=["noise", "plugins"],
)
async def test_options_of_the_repository_do_not_break_the_check(project: Make, config: str) -> None:
    noisy = {"tests/test_maths.py": "print('tests/test_maths.py::printed')\n" + MATHS["tests/test_maths.py"]}
    broken = {"test_broken.py": "def test_broken():\n    assert False\n"}
    here = project(MATHS | noisy | broken | {"pytest.ini": f"[pytest]\n{config}\n"})
    proof = await here.prove(DOUBLE)
    assert proof.proves and proof.total == 3


async def test_a_new_test_outside_testpaths_is_run_all_the_same(project: Make) -> None:
    here = project(MATHS | {"pytest.ini": "[pytest]\ntestpaths = tests\n"})
    proof = await here.prove({"maths.py": DOUBLE["maths.py"], "test_new.py": DOUBLE["tests/test_double.py"]})
    assert proof.fail_to_pass == ["test_new::test_double"] and proof.total == 2


async def test_a_command_of_another_kind_is_graded_by_its_exit_code(project: Make) -> None:
    here = project({".autocode.toml": '[test]\ncommand = "sh check.sh"\n', "check.sh": "exit 0\n"})
    proof = await here.prove({"check.sh": "seq 5000\n"})
    assert proof.proves and proof.grade == "exit code" and proof.command == ["sh", "check.sh"]
    told = [data["text"] for type, data in here.events if type == "sandbox.output"]
    assert "".join(told) == "".join(f"{number}\n" for number in range(1, 5001)) and len(told) < 30
    proof = await here.prove({"check.sh": "echo oh no; exit 3\n"})
    assert proof.problems == ["sh check.sh ended with exit code 3 (on the base it ended with exit code 0)"]
    assert proof.failures[0].text == "oh no"


async def test_a_change_cannot_name_its_own_command(project: Make) -> None:
    proof = await project(MATHS).prove(SUBTRACT | {".autocode.toml": '[test]\ncommand = "true"\n'})
    assert not proof.green and suspects(proof) == {".autocode.toml"}


def test_a_proof_that_does_not_hold_says_where() -> None:
    recorded = Proof(
        base="b" * 40,
        head="h" * 40,
        tree="1" * 40,
        backend="docker",
        image="sha256:1",
        command=["pytest"],
        exit_code=0,
        cases=[
            CaseProof(id=ADD, base="passed", head="passed"),
            CaseProof(id=NEW, base="failed", head="passed", new=True),
        ],
        green=True,
    )
    cases = [CaseProof(id=ADD, base="passed", head="failed")]
    again = recorded.model_copy(update={"cases": cases, "exit_code": 1, "tree": "0" * 40, "green": False})
    assert compare(recorded, recorded) == []
    assert compare(recorded, again) == [
        f"tree: {'1' * 40} was recorded, {'0' * 40} now",
        "exit code: 0 was recorded, 1 now",
        "green: True was recorded, False now",
        f"{NEW} on the base: failed was recorded, absent now",
        f"{NEW} on the change: passed was recorded, absent now",
        f"{ADD} on the change: passed was recorded, failed now",
    ]


async def test_a_base_that_was_killed_runs_again_for_the_next_check(project: Make) -> None:
    kill = "import os\n\n\ndef test_end():\n    os.kill(os.getpid(), 9)\n"
    here = project(MATHS | {"tests/test_end.py": kill})
    for count in (1, 2):
        assert (await here.prove(DOUBLE)).baseline == "unknown"
        assert here.started.count("the base") == count
