from pathlib import Path

from nodes.check.suites.pytest_config import read_options
from tools.workspace import Workspace

BASE = {
    "pyproject.toml": "[project]\n[tool.pytest.ini_options]\naddopts = '-q'\npythonpath = ['lib']\n",
    "conftest.py": "",
    "m.py": "",
}


def test_options_come_from_the_file_that_pytest_would_read(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path)
    base = workspace.write(workspace.begin().snapshot, BASE, "base")
    assert read_options(workspace, base).source == "pyproject.toml"
    assert read_options(workspace, base).addopts == ("-q",)
    assert read_options(workspace, base).pythonpath == ("lib",)
    first = workspace.write(base, {"pytest.ini": ""}, "an empty pytest.ini wins")
    assert read_options(workspace, first).source == "pytest.ini"
    assert read_options(workspace, first).addopts == ()
