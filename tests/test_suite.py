import pytest
from projects import Recognise

from nodes.check.suites.config import NoSuite
from nodes.check.suites.suite import FLAGS, ROOT, listing
from sandbox.base import REPORT


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": "soon\n"},
        {"maths.py": "x = 1\n"},
        {"package.json": "{}", "tests/test_it.py": ""},
        {"package.json": "{}", "pytest.ini": ""},
        {"main.go": "package main\n", "go.mod": "module m\n", "pyproject.toml": "[project]\nname = 'm'\n"},
        {"go.mod": "module m\n", "e2e/conftest.py": ""},
    ],
    ids=lambda files: "+".join(files) or "empty",
)
def test_pytest_is_the_default_where_nothing_speaks_against_python(
    suite_of: Recognise, files: dict[str, str]
) -> None:
    suite = suite_of(files)
    assert suite.whole() == ("python", "-m", "pytest", *FLAGS, ROOT)
    assert suite.whole()[-2:] == (f"--junitxml={REPORT}", ROOT)
    assert suite.grade == "tests" and suite.scope == "auto" and suite.seconds is None


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"package.json": '{"devDependencies": {"ava": "6"}}', "index.js": ""}, "npm test"),
        ({"CMakeLists.txt": "", "main.c": ""}, "ctest"),
        ({"main.c": "", "Makefile": "all:\n\ttrue\n"}, "make test"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_language_is_told_what_to_write(
    suite_of: Recognise, files: dict[str, str], command: str
) -> None:
    with pytest.raises(NoSuite, match=r"\.autocode\.toml") as raised:
        suite_of(files)
    assert f'[test]\ncommand = "{command}"' in str(raised.value)


def test_a_folder_src_is_put_on_the_path(suite_of: Recognise) -> None:
    assert suite_of({"src/m/__init__.py": ""}).whole()[:4] == ("env", "PYTHONPATH=src", "python", "-m")


def test_a_named_command_is_split_and_graded_by_its_exit_code(suite_of: Recognise) -> None:
    suite = suite_of({".autocode.toml": "[test]\ncommand = \"npm run 'unit tests'\"\ntimeout = 90\n"})
    assert (suite.whole(), suite.grade, suite.seconds) == (("npm", "run", "unit tests"), "exit code", 90.0)
    suite = suite_of({".autocode.toml": '[test]\ncommand = ["sh", "-c", "a && b"]\n'})
    assert suite.whole() == ("sh", "-c", "a && b")
    suite = suite_of({".autocode.toml": '[test]\ncommand = "CI=1 make check"\n'})
    assert suite.whole() == ("env", "CI=1", "make", "check")


@pytest.mark.parametrize(
    "program", ["pytest", "python -m pytest", "python3 -m pytest", "env A=1 pytest", "A=1 pytest"]
)
def test_a_named_pytest_is_still_graded_by_its_cases(suite_of: Recognise, program: str) -> None:
    command = f"{program} -m unit tests/unit --junitxml=x.xml"
    told = f'[test]\ncommand = "{command}"\nscope = "all"\n'
    suite = suite_of({".autocode.toml": told, "tests/unit/test_it.py": ""})
    env = ("env", "A=1") if "A=1" in program else ()
    start = (*env, "python", "-m", "pytest", "-m", "unit", "--junitxml=x.xml", *FLAGS, ROOT)
    assert (suite.grade, suite.scope) == ("tests", "all")
    assert suite.whole() == (*start, "tests/unit")
    assert suite.whole(["tests/test_new.py", "tests/unit/test_it.py"]) == (
        *start,
        "tests/unit",
        "tests/test_new.py",
    )
    assert suite.only(["-odd_test.py"]) == (*start, "./-odd_test.py")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[test\n", "not valid TOML"),
        ("x = " + "[" * 20_000, "not usable TOML"),
        ("x = " + "9" * 5_000, "not usable TOML"),
        ("[test]\ntimeout = inf\n", "test.timeout"),
        ("[test]\ncommand = 3\n", "test.command"),
        ("[test]\ncommand = []\n", "test.command"),
        ('[test]\ncommand = "A=1"\n', "names no program"),
        ('[test]\ncommand = "make a && make b"\n', '"sh", "-c"'),
        ('[test]\ncommand = "make \'a"\n', "test.command"),
        ('[test]\nscope = "some"\n', "test.scope"),
        ("[test]\ntimeout = -1\n", "test.timeout"),
        ("[test]\nmutants = false\n", "test.mutants: Input should be 'on' or 'off'"),
        ('mutants = "none"\n', "mutants: Input should be 'on' or 'off'"),
        ('[test]\ncomand = "make"\n', "test.comand"),
        ('[test]\ncommand = "make"\nscope = "affected"\n', "pytest alone"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(suite_of: Recognise, text: str, words: str) -> None:
    with pytest.raises(NoSuite, match=r"\.autocode\.toml") as raised:
        suite_of({".autocode.toml": text, "maths.py": ""})
    assert words in str(raised.value)


def test_a_configuration_that_is_not_utf_8_is_not_ignored(suite_of: Recognise) -> None:
    with pytest.raises(NoSuite, match="UTF-8"):
        suite_of({".autocode.toml": b"[test]\ncommand = '\xe9'\n", "maths.py": ""})


def test_a_pyproject_with_an_endless_number_is_left_to_pytest(suite_of: Recognise) -> None:
    assert suite_of({"pyproject.toml": f"x = {'9' * 5_000}\n", "maths.py": ""}).is_pytest


TOLD = "python_files = check_*.py spec/*.py\ntestpaths = checks\naddopts = -x\n"
LISTED = 'python_files = ["check_*.py", "spec/*.py"]\ntestpaths = ["checks"]\naddopts = ["-x"]\n'


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pytest.ini", f"[pytest]\n{TOLD}"),
        ("tox.ini", f"[pytest]\n{TOLD}".replace("= ", "=\n    ")),
        ("setup.cfg", f"[tool:pytest]\n{TOLD}"),
        ("pyproject.toml", f"[tool.pytest.ini_options]\n{LISTED}".replace('["-x"]', '"-x"')),
        ("pytest.toml", f"[pytest]\n{LISTED}"),
    ],
)
def test_the_options_of_the_repository_are_honoured(suite_of: Recognise, path: str, text: str) -> None:
    suite = suite_of({path: text, "checks/check_it.py": ""})
    names = ["checks/check_it.py", "spec/it.py", "a/spec/it.py", "test_it.py", "check_it.txt", "spec.py"]
    assert [suite.is_test(name) for name in names] == [True, True, True, False, False, False]
    assert suite.whole(["checks/check_it.py"])[-1] == "--maxfail=0"
    assert suite.whole(["check_it.py"])[-2:] == ("-o", "testpaths=checks check_it.py")


def test_an_unreadable_configuration_is_left_to_pytest(suite_of: Recognise) -> None:
    assert suite_of({"pyproject.toml": "[tool.pytest", "setup.cfg": "no section\n"}).is_test("test_a.py")


def test_the_plain_suite_clears_what_a_sandbox_may_lack(suite_of: Recognise) -> None:
    suite = suite_of({"pytest.ini": "[pytest]\naddopts = --cov --import-mode=importlib\n"}).plain()
    added = suite.whole()[4 + len(FLAGS) :]
    assert added[:2] == ("-o", "addopts=--import-mode=importlib")
    assert {"required_plugins=", "strict_config=false"} < set(added)


def test_options_that_would_spoil_the_report_are_overruled(suite_of: Recognise) -> None:
    suite = suite_of({"pytest.ini": "[pytest]\naddopts = -qx --junitprefix=py\n"})
    assert suite.whole()[-2:] == ("--maxfail=0", "--junitprefix=")


def test_the_listing_writes_no_report(suite_of: Recognise) -> None:
    command = listing(suite_of({}).only(["test_a.py"]))
    assert "--collect-only" in command and not any(REPORT in word for word in command)


UNITTEST = (
    "import unittest\n\n\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertTrue(1)\n"
)


@pytest.mark.parametrize("path", ["tests.py", "shop/tests.py", "tests/testshop.py"])
def test_unittest_files_that_pytest_would_not_find_are_found(suite_of: Recognise, path: str) -> None:
    suite = suite_of({path: UNITTEST, "shop/__init__.py": ""})
    assert suite.whole()[3:5] == ("-o", "python_files=test_*.py *_test.py test*.py")
    assert suite.is_test(path) and not suite.is_test("shop/__init__.py")


def test_unittest_files_change_nothing_where_pytest_finds_tests(suite_of: Recognise) -> None:
    for more in ({"tests/test_it.py": ""}, {"pytest.ini": ""}):
        assert suite_of({"tests.py": UNITTEST, **more}).whole()[3] == FLAGS[0]
    assert suite_of({"tests.py": "TESTS = 1\n"}).whole()[3] == FLAGS[0]


MODULES = ("--doctest-modules", "--doctest-ignore-import-errors")


@pytest.mark.parametrize(
    ("files", "added"),
    [
        ({"tox.ini": "[testenv]\ncommands = pytest --doctest-modules src\n", "tests/test_a.py": ""}, MODULES),
        ({"Makefile": "test:\n\tpython -m doctest calc.py\n"}, MODULES),
        ({"README.md": "Run `python3 -m doctest README.md`.\n"}, (*MODULES, "--doctest-glob=README.md")),
        ({"README.md": "Run `python -m doctest README.md`.\n", "tests/test_a.py": ""}, ()),
        ({"Makefile": "# pytest --doctest-modules\n"}, ()),
        (
            {"tox.ini": "[pytest]\naddopts = --doctest-modules\n[testenv]\ndeps = pytest\n"},
            (),
        ),
    ],
)
def test_doctests_run_where_the_project_runs_them(
    suite_of: Recognise, files: dict[str, str], added: tuple[str, ...]
) -> None:
    suite = suite_of({"calc.py": "", **files})
    assert suite.whole()[3 : 3 + len(added) + 1] == (*added, FLAGS[0])
