"""Declarations of packages, edited as text."""

import pytest

from tools.declaration import DeclarationError, declare


@pytest.mark.parametrize(
    ("files", "add", "remove", "path", "text"),
    [
        ({}, ["rich>=14"], [], "requirements.txt", "rich>=14\n"),
        ({"requirements.txt": "# ours\na\nrich==1  # old\n"}, ["rich>=14"], [], "requirements.txt",
         "# ours\na\nrich>=14\n"),
        ({"requirements.txt": "rich==1\n"}, ["Rich", "b"], [], "requirements.txt", "rich==1\nb\n"),
        ({"pyproject.toml": "[project]\ndependencies = ['a_b>1']\n"}, ["A.b"], [], "pyproject.toml",
         "[project]\ndependencies = ['a_b>1']\n"),
        ({"requirements.txt": "-r base.txt\nA.b\nc\n"}, [], ["a-b"], "requirements.txt", "-r base.txt\nc\n"),
        ({"pyproject.toml": "[project]\nname = 'x'\ndependencies = ['a', \"b[c]>1\"]\n"}, ["d"], ["b"],
         "pyproject.toml", "[project]\nname = 'x'\ndependencies = ['a', \"d\"]\n"),
        ({"pyproject.toml": "[project]\nname = 'x'\ndependencies = [\n  'a', # ]\n  'b',\n]\n[tool.x]\n"},
         ["d"], ["a"], "pyproject.toml",
         "[project]\nname = 'x'\ndependencies = [\n  'b',\n  \"d\",\n]\n[tool.x]\n"),
        ({"pyproject.toml": "[project]\ndependencies = [\n  'a>=1',  # why\n  'b'\n]\n"},
         ["d", "A>=2"], ["b"], "pyproject.toml",
         "[project]\ndependencies = [\n  \"A>=2\",  # why\n  \"d\",\n]\n"),
        ({"pyproject.toml": "[project]\ndependencies = [\n  'a>=8',  # why, 'a'\n  'b'  # last\n]\n"},
         ["d"], [], "pyproject.toml",
         "[project]\ndependencies = [\n  'a>=8',  # why, 'a'\n  'b',  # last\n  \"d\",\n]\n"),
        ({"pyproject.toml": "[project]\ndependencies = ['a',\n  'b']\n"}, ["d"], ["a"], "pyproject.toml",
         "[project]\ndependencies = [\n  'b',\n  \"d\",\n]\n"),
        ({"pyproject.toml": "[project]\ndependencies = [\n  'a',\n  'b',\n  'c',\n]\n"}, [], ["b", "c"],
         "pyproject.toml", "[project]\ndependencies = [\n  'a',\n]\n"),
        ({"pyproject.toml": "[project]\ndependencies = [ 'a', 'b' ]\n"}, [], ["b"], "pyproject.toml",
         "[project]\ndependencies = ['a']\n"),
        ({"pyproject.toml": "[project]\nname = 'x'\n"}, ["d"], [], "pyproject.toml",
         "[project]\ndependencies = [\n    \"d\",\n]\nname = 'x'\n"),
        ({"pyproject.toml": "[tool.black]\n", "requirements.txt": ""}, ["d"], [], "requirements.txt", "d\n"),
    ],
)  # fmt: skip
def test_a_declaration_gains_and_loses_packages_and_keeps_the_rest(
    files: dict[str, str], add: list[str], remove: list[str], path: str, text: str
) -> None:
    declared = declare(files, add, remove)
    assert (declared.path, declared.text) == (path, text)


NAMED = "[project]\nname = 'x'\n"
POETRY = "[tool.poetry.dependencies]\npython = '^3.10'\nA_b = '^1'  # ours\n\n[tool.poetry.group.dev]\n"


@pytest.mark.parametrize(
    ("files", "add", "remove", "path", "text"),
    [
        ({"pyproject.toml": POETRY}, ["requests[socks]>=2", "c"], ["a-b", "python"], "pyproject.toml",
         "[tool.poetry.dependencies]\npython = '^3.10'\n"
         "requests = {version = \">=2\", extras = [\"socks\"]}\nc = \"*\"\n\n[tool.poetry.group.dev]\n"),
        ({"setup.py": "from setuptools import setup\nsetup()\n",
          "setup.cfg": "[metadata]\nname = x\n"
          "[options]\ninstall_requires =\n  a>1\n  # why\n  b\nzip_safe = no\n"},
         ["d"], ["a"], "setup.cfg",
         "[metadata]\nname = x\n[options]\ninstall_requires =\n  # why\n  b\n  d\nzip_safe = no\n"),
        ({"setup.cfg": "[options]\npackages = find:\n"}, ["d"], [], "setup.cfg",
         "[options]\ninstall_requires =\n    d\npackages = find:\n"),
        ({"setup.cfg": "[options]\ninstall_requires =\n    a"}, ["d"], [], "setup.cfg",
         "[options]\ninstall_requires =\n    a\n    d\n"),
        ({"setup.cfg": "[options]\ninstall_requires =\n    a\n"}, [], ["a"], "setup.cfg",
         "[options]\ninstall_requires =\n"),
        ({"pyproject.toml": "[project]\ndynamic = ['dependencies']\n"
          "[tool.setuptools.dynamic]\ndependencies = {file = ['deps.txt']}\n", "deps.txt": "a"},
         ["d"], [], "deps.txt", "a\nd\n"),
        ({"requirements.txt": "a==1 \\\n  --hash=sha256:0\n    # via b\nb==1 --hash=sha256:1\n"}, [], ["a"],
         "requirements.txt", "b==1 --hash=sha256:1\n"),
        ({"pyproject.toml": "[tool.ruff]\n", "api/pyproject.toml": "[project]\nname = 'x'\n",
          "docs/requirements.txt": ""}, ["d"], [], "api/pyproject.toml",
         "[project]\ndependencies = [\n    \"d\",\n]\nname = 'x'\n"),
    ],
)  # fmt: skip
def test_each_kind_of_declaration_is_edited_where_it_stands(
    files: dict[str, str], add: list[str], remove: list[str], path: str, text: str
) -> None:
    declared = declare(files, add, remove)
    assert (declared.path, declared.text, declared.renewal) == (path, text, None)


@pytest.mark.parametrize(
    ("files", "folder", "lock", "command"),
    [
        ({"pyproject.toml": NAMED, "uv.lock": ""}, None, "uv.lock", "uv lock"),
        ({"pyproject.toml": "[tool.uv.workspace]\n", "uv.lock": "", "a/pyproject.toml": NAMED,
          "b/pyproject.toml": NAMED}, "b", "uv.lock", "uv lock"),
        ({"pyproject.toml": POETRY, "poetry.lock": ""}, None, "poetry.lock", "poetry lock"),
        ({"pyproject.toml": NAMED, "pdm.lock": ""}, None, "pdm.lock", "pdm lock"),
        ({"requirements.in": "a\n", "requirements.txt": "# autogenerated by pip-compile\na==1\n"}, None,
         "requirements.txt", "uv pip compile"),
        ({"requirements.txt": "a==1 --hash=sha256:0\n"}, None, "requirements.txt", "--generate-hashes"),
    ],
)  # fmt: skip
def test_a_lock_is_renewed_by_its_own_tool(
    files: dict[str, str], folder: str | None, lock: str, command: str
) -> None:
    renewal = declare(files, ["d"], folder=folder).renewal
    assert renewal and renewal.path == lock and command in renewal.with_python("")


def test_a_file_with_hashes_keeps_its_lines_and_gains_those_that_it_lacks() -> None:
    before = "# ours\na==1 \\\n    --hash=sha256:0\n"
    renewal = declare({"requirements.txt": before}, ["d"]).renewal
    new = "d==2 \\\n    --hash=sha256:1\n    # via e\n"
    assert renewal and renewal.result(f"a==1 \\\n    --hash=sha256:9\n{new}") == before + new


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"pyproject.toml": NAMED, "Pipfile.lock": ""}, "only its own tool can renew it"),
        ({"setup.py": "setup(install_requires=read())"}, "setup.py is a program that lists"),
        ({"setup.py": "setup(**values)", "setup.cfg": "[options]\n"}, "setup.py is a program that lists"),
        ({"Pipfile": ""}, "Pipfile declares the packages"),
        ({"setup.cfg": "[options]\ninstall_requires = a\n"}, "a line of its own"),
        ({"setup.cfg": "[options\n"}, "not an INI file"),
        ({"requirements.txt": "-r a.txt\na==1 --hash=sha256:0\n"}, "has hashes and includes"),
        ({"a/setup.cfg": "[options]\n", "b/requirements.txt": ""}, "name one of them as `folder`"),
        ({"pyproject.toml": "[project"}, "Correct the TOML"),
        ({"pyproject.toml": "project = 3"}, "no table"),
        ({"pyproject.toml": "[tool]\npoetry.dependencies.a = '1'\n"}, "no line `[tool.poetry.dependencies]`"),
        ({"pyproject.toml": "[tool.poetry.dependencies]\nd = [\n{version='1'},\n]\n"}, "cannot be edited"),
        ({"requirements.txt": "a\n" * 300_000}, "has 600,000 characters"),
        ({"pyproject.toml": "project.name = 'x'\n"}, "no line `[project]`"),
        ({"pyproject.toml": "[project]\nname = 'x'\ndynamic = ['dependencies']\n"}, "dynamic"),
        ({"pyproject.toml": "x = '''\n[project]\n'''\n[project]\nname = 'x'\n"}, "cannot be edited"),
        ({"pyproject.toml": "[project]\ndependencies = ['''\na''']\n"}, "cannot be edited"),
        ({"pyproject.toml": "[project]\nx = " + "[" * 100_000}, "not usable TOML"),
    ],
)
def test_a_declaration_that_cannot_be_edited_says_so(files: dict[str, str], says: str) -> None:
    with pytest.raises(DeclarationError) as error:
        declare(files, ["d"])
    assert says in str(error.value)
