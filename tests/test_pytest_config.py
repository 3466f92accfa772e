from pathlib import Path

import pytest

from nodes.check.pytest_config import read_options, sensitive_files
from tools.workspace import Workspace

BASE = {
    "pyproject.toml": "[project]\n[tool.pytest.ini_options]\naddopts = '-q'\npythonpath = ['lib']\n",
    "conftest.py": "",
    "m.py": "",
}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("conftest.py", None),
        ("tests/deep/conftest.py", "x = 1\n"),
        ("pytest.ini", "[pytest]\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '-p evil'\n"),
        ("pyproject.toml", "[project]\n"),
        ("tox.ini", "[pytest]\n"),
        ("plugin.py", "def pytest_runtest_makereport(item, call):\n    pass\n"),
        ("plugin.py", "import pytest\n\n@pytest.hookimpl(wrapper=True)\ndef x():\n    pass\n"),
        ("tests/test_a.py", "pytest_plugins = ['evil']\n"),
        ("pytest.py", ""),
        ("src/sitecustomize.py", ""),
        ("_pytest/junitxml.py", ""),
        ("json.py", ""),
        ("xml/etree/ElementTree.py", ""),
        (".autocode.toml", "[test]\n"),
        ("src/evil.pth", "import evil\n"),
    ],
)
def test_what_steers_pytest_is_shown_apart(tmp_path: Path, path: str, text: str | None) -> None:
    workspace = Workspace.init(tmp_path)
    base = workspace.write(workspace.begin().snapshot, BASE, "base")
    head = workspace.write(base, {path: text}, "change")
    assert sensitive_files(workspace, base, head, [path]) == [path]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("m.py", "x = 1\n"),
        ("tests/test_a.py", "def test_pytest_runs():\n    pass\n"),
        ("pyproject.toml", BASE["pyproject.toml"] + "[tool.ruff]\n"),
        ("tox.ini", "[tox]\n"),
        ("docs/json.md", "pytest_plugins\n"),
        ("json.txt", ""),
        ("m/json.py", ""),
    ],
)
def test_other_changes_are_not(tmp_path: Path, path: str, text: str) -> None:
    workspace = Workspace.init(tmp_path)
    base = workspace.write(workspace.begin().snapshot, BASE, "base")
    head = workspace.write(base, {path: text}, "change")
    assert sensitive_files(workspace, base, head, [path]) == []


def test_options_come_from_the_file_that_pytest_would_read(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path)
    base = workspace.write(workspace.begin().snapshot, BASE, "base")
    assert read_options(workspace, base).source == "pyproject.toml"
    assert read_options(workspace, base).addopts == ("-q",)
    assert read_options(workspace, base).pythonpath == ("lib",)
    first = workspace.write(base, {"pytest.ini": ""}, "an empty pytest.ini wins")
    assert read_options(workspace, first).source == "pytest.ini"
    assert read_options(workspace, first).addopts == ()
