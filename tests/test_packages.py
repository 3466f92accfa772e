"""The packages of a repository that a change concerns."""

from pathlib import Path

import pytest

from nodes.check.suites.packages import Packages
from tools.workspace import Workspace

Files = dict[str, str | bytes | None]

PROJECT = "[project]\nname = 'p'\n"
TEST = "def test_a():\n    assert True\n"
MONOREPO: Files = {
    f"{folder}/{name}": text
    for folder in ("pkg/a", "pkg/b")
    for name, text in (
        ("pyproject.toml", PROJECT),
        ("m.py", ""),
        ("data.json", "{}"),
        ("tests/test_m.py", TEST),
    )
}
SHOP: Files = {
    "pyproject.toml": PROJECT,
    "shop/core/m.py": "",
    "shop/core/requirements.txt": "",
    "tests/test_m.py": TEST,
}


def concerned(path: Path, base: Files, change: Files) -> list[str]:
    workspace = Workspace.init(path)
    before = workspace.write(workspace.begin().snapshot, base, "base")
    after = workspace.write(before, change, "change")
    return Packages(workspace, before, after).of(each.path for each in workspace.changes(before, after))


@pytest.mark.parametrize(
    ("base", "change", "folders"),
    [
        (MONOREPO, {"pkg/a/m.py": "x = 1\n"}, ["pkg/a"]),
        (MONOREPO, {"pkg/a/m.py": "x = 1\n", "pkg/b/data.json": "[]"}, ["pkg/a", "pkg/b"]),
        (MONOREPO, {"pkg/a/m.py": "x = 1\n", "pkg/b/README.md": "b\n"}, ["pkg/a"]),
        (MONOREPO, {"pkg/a/m.py": None, "pkg/b/n.py": ""}, ["pkg/a", "pkg/b"]),
        (MONOREPO, {"pkg/c/pyproject.toml": PROJECT, "pkg/c/tests/test_m.py": TEST}, ["pkg/c"]),
        (MONOREPO | SHOP, {"pkg/c/go.mod": "", "pkg/c/setup.py": "", "pkg/c/test_m.py": TEST}, ["pkg/c"]),
        (SHOP, {"shop/core/m.py": "x = 1\n"}, [""]),
    ],
)
def test_the_packages_of_the_changed_files_are_concerned(
    base: Files, change: Files, folders: list[str], tmp_path: Path
) -> None:
    assert concerned(tmp_path, base, change) == folders


@pytest.mark.parametrize(
    ("base", "paths", "folder"),
    [
        (MONOREPO, ["pkg/b/m.py", "pkg/a/m.py"], "pkg/b"),
        (MONOREPO, ["CHANGES.md", "pkg/a/m.py"], "pkg/a"),
        (MONOREPO, ["pkg/b/new.py"], "pkg/b"),
        (MONOREPO, ["CHANGES.md"], ""),
        (MONOREPO, [], ""),
        (SHOP, ["shop/core/m.py", "pyproject.toml"], ""),
    ],
)
def test_of_several_files_the_first_that_tests_judge_is_in_the_main_package(
    base: Files, paths: list[str], folder: str, tmp_path: Path
) -> None:
    workspace = Workspace.init(tmp_path)
    snapshot = workspace.write(workspace.begin().snapshot, base, "base")
    assert Packages(workspace, snapshot, snapshot).main(paths) == folder


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt", ".autocode.toml", "tox.ini"])
def test_a_change_cannot_leave_out_the_tests_of_the_base(name: str, tmp_path: Path) -> None:
    text = "[environment]\n" if name == ".autocode.toml" else ""
    change: Files = {"shop/core/m.py": "x = 1\n", f"shop/core/{name}": text, "shop/core/test_m.py": TEST}
    assert concerned(tmp_path / "declared", SHOP, change) == ["", "shop/core"]
    plain = {path: text for path, text in SHOP.items() if path in ("shop/core/m.py", "tests/test_m.py")}
    assert concerned(tmp_path / "plain", plain, change) == ["", "shop/core"]


def test_every_package_counts_however_many_there_are(tmp_path: Path) -> None:
    folders = [f"pkg/p{number:02}" for number in range(12)]
    base: Files = {}
    for folder in folders:
        base |= {f"{folder}/pyproject.toml": PROJECT, f"{folder}/m.py": "", f"{folder}/test_m.py": TEST}
    assert concerned(tmp_path, base, {f"{folder}/m.py": "x = 1\n" for folder in folders}) == folders
