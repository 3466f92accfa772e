"""Folders that pytest need not walk on the change."""

from collections.abc import Mapping

import pytest

from nodes.check.change import CheckedChange
from nodes.check.execution.folders_without_tests import folders_without_tests
from nodes.check.outcomes import Outcomes
from tools.workspace import Workspace

FILES = {
    **{f"lib/deep/m{number}.py": "" for number in range(500)},
    **{f"lib/m{number}.py": "" for number in range(500)},
    **{f"few/m{number}.py": "" for number in range(499)},
    **{f"assets.d/a{number}.bin": "" for number in range(500)},
    "conftest.py": "",
    "plugin.py": "import pytest\n",
    "tests/test_a.py": "import pytest\n",
}
OUTCOMES = Outcomes(exit_code=0, cases={"tests.test_a::test": "passed"})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.init(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def base(workspace: Workspace) -> str:
    return workspace.write(workspace.begin().snapshot, FILES, "base")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"few/m1.py": "x = 1\n"}, ("assets.d", "lib")),
        ({"tests/test_a.py": "import pytest\n\n"}, ("assets.d", "lib")),
        ({"lib/m1.py": "x = 1\n"}, ("assets.d", "lib/deep")),
        ({"lib/deep/test_new.py": ""}, ("assets.d",)),
        ({"lib/deep/conftest.py": ""}, ()),
        ({"conftest.py": "x = 1\n"}, ()),
        ({"plugin.py": "def pytest_collect_file(): ...\n"}, ()),
        ({"plugin.py": None}, ()),
        ({"tests/test_a.py": "pytest_plugins = ['plugin']\n"}, ()),
        ({"pytest.ini": "[pytest]\naddopts = --doctest-modules\n"}, ()),
    ],
)
def test_folders_without_tests_are_not_walked_unless_the_change_may_give_them_some(
    workspace: Workspace, base: str, changes: Mapping[str, str | None], expected: tuple[str, ...]
) -> None:
    change = CheckedChange.read(workspace.path, base, workspace.write(base, changes, "change"))
    assert folders_without_tests(workspace, change, OUTCOMES) == expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (
            Outcomes(exit_code=1, cases={"lib.m1::lib.m1": "passed", "::few": "error"}),
            ("assets.d", "lib/deep"),
        ),
        (Outcomes(exit_code=0, cases={"assets.d.a1.bin::the case": "passed"}), ("lib",)),
        (Outcomes(exit_code=1, cases={"::lib.deep.m1": "error"}), ("assets.d",)),
        (Outcomes(exit_code=4, cases=None), ()),
        (Outcomes(exit_code=0, cases={}, stopped="timed out"), ()),
    ],
)
def test_a_folder_in_which_the_base_has_cases_is_walked(
    workspace: Workspace, base: str, outcomes: Outcomes, expected: tuple[str, ...]
) -> None:
    change = CheckedChange.read(workspace.path, base, workspace.write(base, {"few/m1.py": "1\n"}, "change"))
    assert folders_without_tests(workspace, change, outcomes) == expected
