"""Declarations that are wrong, huge or hostile."""

import time

import pytest
from test_environment_detect import BUILD, SHOP, TOOLSET, only

from sandbox.environment.detection.detect import detect
from sandbox.environment.recipe import Recipe, Toolset

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "TOML": (
        {"pyproject.toml": "[project]\nname = \n"}, "pyproject.toml, line 2: Invalid value. Correct"),
    "TOML that ends too early": ({"pyproject.toml": "[a]\n[project"}, "pyproject.toml, line 2: Expected ']'"),
    "JSON": ({"package.json": '{\n"a": }'}, "package.json, line 2: Expecting value. Correct the JSON."),
    "INI": (
        {"setup.py": "setup()", "setup.cfg": "nonsense"}, "setup.cfg, line 1: not an INI file that can be"),
    "a JSON list": ({"package.json": "[]"}, "package.json holds no JSON object."),
    "deep TOML": ({"pyproject.toml": "a = " + "[" * 100_000}, "pyproject.toml is not usable TOML"),
    "deep JSON": ({"package.json": '{"a":' * 100_000}, "package.json is not usable JSON"),
    "a huge integer": ({"package.json": '{"a": ' + "9" * 10_000 + "}"}, "package.json is not usable JSON"),
    "a huge file": ({"pyproject.toml": "#" * 600_000}, "pyproject.toml has 600,000 characters"),
    "an unknown key": (
        {".autocode.toml": "[environment]\nsetpu = []\n"},
        ".autocode.toml: [environment] has no key 'setpu'. Known keys: python, image, setup,",
    ),
    "no table": ({".autocode.toml": "environment = 1\n"}, ".autocode.toml: [environment] must be a table."),
    "a version": (
        {".autocode.toml": "[test]\n\n[environment]\npython = 3.12\n"},
        '.autocode.toml, line 4: python must be a version such as "3.12".',
    ),
    "an escape sequence in a command": (
        {".autocode.toml": '[environment]\nsetup = ["ls \\u001b[2K"]\n'},
        ".autocode.toml, line 2: setup must be a list of at most 100 printable lines.",
    ),
    "a path outside": (
        {".autocode.toml": '[environment]\nfiles = ["../../etc/shadow"]\n'},
        ".autocode.toml, line 2: files must be relative",
    ),
    "an absolute path": (
        {".autocode.toml": '[environment]\nvenv = "/root"\n'}, "line 2: venv must be relative"),
    "a reserved variable": (
        {".autocode.toml": '[environment.env]\nLD_PRELOAD = "x"\n'}, "env must be without 'LD_PRELOAD'"),
    "a package that is an option": (
        {".autocode.toml": '[environment]\npackages = ["-o=x"]\n'}, "packages must be a list of"),
    "infinite processors": (
        {".autocode.toml": "[environment]\ncpus = inf\n"}, "cpus must be a number"),
    "memory as text": (
        {".autocode.toml": '[environment]\nmemory_mb = "1"\n'}, "memory_mb must be a whole number"),
    "an impossible Python": (
        {"pyproject.toml": SHOP + 'requires-python = ">=9"\n' + BUILD}, "No known Python satisfies >=9"),
    "an image under bubblewrap": (
        {".autocode.toml": '[environment]\nimage = "python:3.12"\n'}, "needs SANDBOX_BACKEND=docker"),
    "a missing system package": (
        {".autocode.toml": '[environment]\npackages = ["libpq-dev"]\n'},
        "this machine lacks libpq-dev. Run: sudo apt-get install libpq-dev",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_declarations_are_faults_that_say_where(files: dict[str, str], message: str) -> None:
    recipe = only(files)
    assert any(message in fault.message for fault in recipe.fatal), recipe.faults


def test_a_missing_tool_is_named() -> None:
    recipe = only({"Cargo.toml": '[dependencies]\na = "1"\n'}, toolset=Toolset())
    assert [fault.message for fault in recipe.fatal] == [
        "Cargo.toml needs cargo, which this machine does not have. Install cargo."
    ]


def test_an_empty_submodule_is_named_but_prevents_nothing() -> None:
    recipe = only({"requirements.txt": "x", ".gitmodules": '[submodule "a"]\n\tpath = libs/a\n'})
    assert "The submodule libs/a is empty" in recipe.faults[0].message
    assert recipe.fatal == ()


NASTY: dict[str, dict[str, str]] = {
    "nested calls": {"setup.py": "setup(" * 10_000},
    "operators": {"setup.py": "x = " + "-" * 90_000 + "1"},
    "attributes": {"setup.py": "x = a" + ".b" * 45_000},
    "null bytes": {"setup.py": "setup()\0"},
    "many lines": {"requirements.txt": "-r a.txt\n" * 50_000, "a.txt": "-r requirements.txt\n" * 50_000},
    "files that include each other": {f"requirements/test{n}.txt": "-r test0.txt\n" for n in range(300)},
    "spaces": {"requirements.txt": " " * 500_000, ".python-version": " " * 500_000, "go.mod": "\n" * 500_000},
    "ignore": {"requirements.txt": "x", ".gitignore": "a/" * 200_000 + ".py"},
    "dotted keys": {"pyproject.toml": "a." * 100_000 + "b = 1"},
    "extras": {"setup.py": "setup(extras_require={" + "'test': []," * 5_000 + "})"},
    "packages": {f"p{n}/pyproject.toml": SHOP + BUILD for n in range(2_000)},
    "workspaces": {"package.json": '{"workspaces":[' + '"p*",' * 5_000 + '"q"],"scripts":{"test":"x"}}'},
    "submodules": {"requirements.txt": "", ".gitmodules": "\tpath = a\n" * 20_000},
    "tox": {"setup.py": "setup()", "tox.ini": "[testenv]\ndeps =\n" + "  a,b,c\n" * 50_000},
    "control characters": {
        "pyproject.toml": SHOP + BUILD + "[dependency-groups]\n'test\u001b' = []\n'dev;ls' = []\n"},
}  # fmt: skip


@pytest.mark.parametrize("files", NASTY.values(), ids=NASTY.keys())
def test_nasty_declarations_are_read_in_bounded_time(files: dict[str, str]) -> None:
    began = time.process_time()
    recipes = detect(files, TOOLSET)
    assert time.process_time() - began < 8
    assert all(command.isprintable() for recipe in recipes for command in recipe.commands)
    assert all(";" not in command for recipe in recipes for command in recipe.commands)


def test_names_from_the_repository_are_quoted() -> None:
    recipe = only({"requirements/test-$(touch x).txt": "x"})
    assert "uv pip install -r 'requirements/test-$(touch x).txt'" in recipe.commands


def test_equal_recipes_are_equal() -> None:
    assert Recipe(folder="a", commands=("x",)).digest == Recipe(folder="a", commands=("x",)).digest
