"""Detection of environments: from a repository's files to commands."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sandbox.environment.detection.detect import detect
from sandbox.environment.recipe import Python, Recipe, Toolset

TOOLSET = Toolset(
    pythons=(
        Python("3.11.7", "/p/3.11/bin/python3.11"),
        Python("3.10.13", "/p/3.10/bin/python3.10"),
        Python("3.12.1", "/p/3.12/bin/python3.12"),
    ),
    tools=frozenset({"node", "npm", "go", "cargo"}),
    packages=frozenset({"libxml2-dev"}),
    shows_venv=True,
)
VENV = "/opt/environment/venv"
BUILD = '[build-system]\nrequires = ["hatchling"]\n'
POETRY = "uv tool run --with poetry-plugin-export --with poetry-plugin-pypi-mirror poetry"
SHOP = '[project]\nname = "shop"\nversion = "1"\n'


def detected(
    files: Mapping[str, str], *paths: str, toolset: Toolset = TOOLSET, version: str = ""
) -> list[Recipe]:
    return list(detect(files, toolset, paths, version))


def only(files: Mapping[str, str], *paths: str, toolset: Toolset = TOOLSET, version: str = "") -> Recipe:
    (recipe,) = detected(files, *paths, toolset=toolset, version=version)
    return recipe


def installs(recipe: Recipe) -> list[str]:
    """Return the commands between the virtual environment's creation and pytest's installation."""
    assert recipe.commands[0].startswith("uv venv ")
    assert recipe.commands[-1] == "uv pip install pytest"
    return list(recipe.commands[1:-1])


PYTHON: dict[str, tuple[dict[str, str], list[str]]] = {
    "requirements": ({"requirements.txt": "flask\n"}, ["uv pip install -r requirements.txt"]),
    "test and dev requirements": (
        {
            "requirements.txt": "flask\n",
            "requirements-dev.txt": "-r requirements.txt\npytest\n",
            "requirements-docs.txt": "sphinx\n",
            "test-requirements.txt": "mock\n",
        },
        ["uv pip install -r requirements-dev.txt -r test-requirements.txt"],
    ),
    "a folder of requirements": (
        {
            "requirements/base.txt": "django\n",
            "requirements/tests.txt": "pytest-django\n",
            "requirements/tests.in": "pytest-django\n",
            "requirements/prod.txt": "gunicorn\n",
            "requirements/min-test.txt": "django==1\n",
        },
        ["uv pip install -r requirements/base.txt -r requirements/tests.txt"],
    ),
    "extras": (
        {
            "pyproject.toml": SHOP
            + BUILD
            + "[project.optional-dependencies]\ntest = ['a']\ndocs = ['b']\nDev=['c']\n"
        },
        ["uv pip install -e '.[test,Dev]'"],
    ),
    "groups": (
        {
            "pyproject.toml": SHOP
            + BUILD
            + "[dependency-groups]\ntests = ['a']\nlint = ['b']\ntesting=['c']\n"
        },
        ["uv pip install -e . --group tests --group testing"],
    ),
    "an application without a build system": (
        {
            "pyproject.toml": SHOP
            + "dependencies = ['flask']\n[project.optional-dependencies]\ntest = ['a']\n"
        },
        ["uv pip install -r pyproject.toml --extra test"],
    ),
    "metadata and requirements are resolved together": (
        {"pyproject.toml": SHOP + BUILD, "requirements-test.txt": "x\n"},
        ["uv pip install -r requirements-test.txt -e ."],
    ),
    "uv.lock": (
        {"pyproject.toml": SHOP + "[dependency-groups]\ntest = []\n", "uv.lock": "", "requirements.txt": "x"},
        ["uv sync --frozen --python 3.11.7 --group test"],
    ),
    "poetry.lock": (
        {
            "pyproject.toml": "[tool.poetry]\nname='a'\n[tool.poetry.group.test.dependencies]\nx='*'\n"
            "[tool.poetry.extras]\ntesting=['y']\n[tool.poetry.group.docs.dependencies]\nz='*'\n" + BUILD,
            "poetry.lock": "",
        },
        [
            f"({POETRY} check --lock --quiet || {POETRY} lock --no-interaction --no-ansi) && "
            f"{POETRY} export --without-hashes --output /tmp/requirements.txt --extras testing --with test",
            "uv pip install -r /tmp/requirements.txt -e .",
        ],
    ),
    "pdm.lock": (
        {"pyproject.toml": SHOP + BUILD + "[tool.pdm.dev-dependencies]\ntest = ['x']\n", "pdm.lock": ""},
        ["uv tool run pdm sync --group test"],
    ),
    "Pipfile.lock": (
        {"Pipfile": "", "Pipfile.lock": "{}"},
        [
            "uv tool run pipenv requirements --dev > /tmp/requirements.txt",
            "uv pip install -r /tmp/requirements.txt",
        ],
    ),
    "pylock.toml": (
        {"pyproject.toml": SHOP + BUILD, "pylock.toml": ""},
        ["uv pip install -r pylock.toml", "uv pip install -e ."],
    ),
    "setup.py with literals": (
        {
            "setup.py": "from setuptools import setup\nEXTRAS = {'test': ['x'], 'docs': ['y']}\n"
            "setup(extras_require=EXTRAS, tests_require=['mock>=2', 'six'])\n"
        },
        ["uv pip install -e '.[test]' 'mock>=2' six"],
    ),
    "setup.cfg": (
        {
            "setup.py": "setup()",
            "setup.cfg": "[metadata]\nname = a\n[options.extras_require]\ntesting =\n  x\n",
        },
        ["uv pip install -e '.[testing]'"],
    ),
    "tox.ini where nothing else names the tests' dependencies": (
        {
            "setup.py": "setup()",
            "test-reqs/x.txt": "",
            "tox.ini": "[testenv]\ndeps =\n    pytest>=3  # new\n    py38: old\n    {env:MORE}\n"
            "    -r{toxinidir}/test-reqs/x.txt\n    responses[x]==1.2\n",
        },
        ["uv pip install -r test-reqs/x.txt -e . 'pytest>=3' 'responses[x]==1.2'"],
    ),
    "tox.ini gives way to extras": (
        {
            "setup.py": "setup(extras_require={'test': []})",
            "tox.ini": "[testenv]\ndeps = x\n",
        },
        ["uv pip install -e '.[test]'"],
    ),
    "tox.ini names extras and groups": (
        {
            "pyproject.toml": SHOP
            + BUILD
            + "[project.optional-dependencies]\nall = []\n[dependency-groups]\nci=[]\n",
            "tox.ini": "[testenv]\nextras = all\ndependency_groups = ci\n",
        },
        ["uv pip install -e '.[all]' --group ci"],
    ),
    "noxfile.py": (
        {
            "pyproject.toml": SHOP + BUILD,
            "noxfile.py": "def tests(session):\n    session.install('-e', '.')\n"
            "    session.install('pytest', 'trustme>=1')\n"
            "    session.install(*args)\n\ndef docs(session):\n    session.install('sphinx')\n",
        },
        ["uv pip install -e . pytest 'trustme>=1'"],
    ),
    "noxfile.py names extras": (
        {
            "pyproject.toml": SHOP
            + BUILD
            + "[project.optional-dependencies]\ncolour = []\npages = []\nother = []\n",
            "noxfile.py": "KINDS = [f'{ROOT}[colour,nothing]']\n\n\n@nox.parametrize('kind', KINDS)\n"
            "def tests(session, kind):\n    session.install('-e', kind, 'responses')\n"
            "    session.install('.[pages]')\n\n\n"
            "def docs(session):\n    session.install('.[other]')\n",
        },
        ["uv pip install -e '.[colour,pages]' responses"],
    ),
}


@pytest.mark.parametrize(("files", "commands"), PYTHON.values(), ids=PYTHON.keys())
def test_python_projects(files: dict[str, str], commands: list[str]) -> None:
    recipe = only(files)
    assert installs(recipe) == commands
    assert recipe.faults == ()
    assert recipe.needs_build


DEPENDS = '"dependencies": {"a": "1"}, "scripts": {"test": "x"}'
OTHERS: dict[str, tuple[dict[str, str], list[str]]] = {
    "npm": (
        {"package.json": "{" + DEPENDS.replace("depen", "devDepen") + "}", "package-lock.json": ""},
        ["npm ci"],
    ),
    "npm without a lock": (
        {"package.json": '{"dependencies": {"a": "1"}, "scripts": {"test": "node --test"}}'},
        ["npm install --no-package-lock"],
    ),
    "pnpm in a stated version": (
        {
            "package.json": "{" + DEPENDS + ', "packageManager": "pnpm@9.1.0+sha"}',
            "pnpm-lock.yaml": "",
        },
        ["npm exec --yes --package pnpm@9.1.0 -- pnpm install --frozen-lockfile"],
    ),
    "yarn of today": (
        {"package.json": "{" + DEPENDS + "}", "yarn.lock": "", ".yarnrc.yml": ""},
        ["npm exec --yes --package @yarnpkg/cli-dist -- yarn install --immutable"],
    ),
    "go": ({"go.mod": "module x\n\ngo 1.21\n\nrequire a.b/c v1.0.0\n"}, ["go mod download"]),
    "rust": ({"Cargo.toml": '[dependencies]\nserde = "1"\n', "Cargo.lock": ""}, ["cargo fetch --locked"]),
    "python and node together": (
        {"requirements.txt": "x", "package.json": '{"dependencies": {"a": "1"}, "scripts": {"test": "x"}}'},
        [f"uv venv --python 3.11.7 {VENV}", "uv pip install -r requirements.txt", "uv pip install pytest",
         "npm install --no-package-lock"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "commands"), OTHERS.values(), ids=OTHERS.keys())
def test_other_projects(files: dict[str, str], commands: list[str]) -> None:
    recipe = only(files)
    assert list(recipe.commands) == commands
    assert recipe.faults == ()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"app.py": ""},
        {"pyproject.toml": "[tool.pytest.ini_options]\n"},
        {"pyproject.toml": SHOP},
        {"package.json": '{"devDependencies": {"prettier": "3"}}'},
        {"go.mod": "module x\n"},
    ],
)
def test_a_repository_without_dependencies_needs_no_environment(files: dict[str, str]) -> None:
    assert detected(files) == []


INTERPRETERS: dict[str, tuple[dict[str, str], str]] = {
    "the default": ({"requirements.txt": "x"}, "3.11.7"),
    "requires-python": ({"pyproject.toml": SHOP + 'requires-python = ">=3.12"\n' + BUILD}, "3.12.1"),
    "poetry": (
        {"pyproject.toml": "[tool.poetry.dependencies]\npython='~3.10'\n" + BUILD, "poetry.lock": ""},
        "3.10.13"),
    ".python-version": ({"requirements.txt": "x", ".python-version": "3.12\n"}, "3.12.1"),
    ".python-version gives way": (
        {"pyproject.toml": SHOP + 'requires-python = "<3.11"\n' + BUILD, ".python-version": "3.12"},
        "3.10.13"),
    "setup.py": ({"setup.py": "setup(python_requires='==3.10.*')"}, "3.10.13"),
    "declared": (
        {"requirements.txt": "x", ".autocode.toml": '[environment]\npython = "3.12"\n'}, "3.12.1"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "version"), INTERPRETERS.values(), ids=INTERPRETERS.keys())
def test_the_interpreter(files: dict[str, str], version: str) -> None:
    recipe = only(files)
    assert (recipe.python, recipe.interpreter) == (version, f"/p/{version[:4]}/bin/python{version[:4]}")


def test_a_missing_interpreter_is_fetched_and_named() -> None:
    recipe = only({"pyproject.toml": SHOP + 'requires-python = ">=3.14"\n' + BUILD})
    assert recipe.commands[:2] == ("uv python install 3.14", f"uv venv --python 3.14 {VENV}")
    (fault,) = recipe.faults
    assert "Python 3.14 is missing (>=3.14 in pyproject.toml)" in fault.message and not fault.fatal


def test_a_declaration_wins() -> None:
    recipe = only(
        {
            "requirements.txt": "x",
            ".autocode.toml": '[test]\ncommand = "make"\n[environment]\nsetup = ["make deps"]\n'
            'env = { DJANGO_SETTINGS_MODULE = "shop.settings", N = 1 }\nfiles = ["src/_version.py"]\n'
            'packages = ["libxml2-dev"]\nmemory_mb = 1024\ncpus = 2\n',
        }
    )
    assert recipe.commands == (f"uv venv --seed --python 3.11.7 {VENV}", "make deps", "uv pip install pytest")
    assert recipe.variables == (("DJANGO_SETTINGS_MODULE", "shop.settings"), ("N", "1"))
    assert (recipe.files, recipe.packages) == (("src/_version.py",), ())  # the machine has them
    assert (recipe.memory_mb, recipe.cpus) == (1024, 2.0)
    assert recipe.sources == (".autocode.toml", "requirements.txt")
    assert recipe.faults == ()


def test_a_declaration_without_commands_adds_to_what_is_detected() -> None:
    recipe = only({"requirements.txt": "x", ".autocode.toml": "[environment]\nenv = { A = true }\n"})
    assert installs(recipe) == ["uv pip install -r requirements.txt"]
    assert recipe.variables == (("A", "1"),)


def test_a_virtual_environment_at_hand_is_not_built() -> None:
    recipe = only({"requirements.txt": "x", ".autocode.toml": '[environment]\nvenv = ".venv"\n'})
    assert (recipe.venv, recipe.commands, recipe.needs_approval) == (".venv", (), False)


MONO = {
    "README.md": "",
    "a/pyproject.toml": SHOP + BUILD,
    "a/src/a.py": "",
    "b/pyproject.toml": SHOP + "dependencies = ['x']\n",
    "b/tests/test_b.py": "",
    "web/package.json": '{"dependencies": {"x": "1"}}',
    "web/src/index.ts": "",
}


def test_a_monorepo_has_an_environment_for_each_package() -> None:
    assert [recipe.folder for recipe in detected(MONO, "a/src/a.py")] == ["a"]
    assert [recipe.folder for recipe in detected(MONO, "a/src/a.py", "b/tests/test_b.py")] == ["a", "b"]
    assert [recipe.folder for recipe in detected(MONO, "web/src/index.ts")] == ["web"]
    assert detected(MONO, "README.md") == []
    assert [recipe.folder for recipe in detected(MONO)] == ["a", "b"]


def test_the_language_of_a_path_decides_which_project_above_it_counts() -> None:
    files = {
        **MONO,
        "package.json": '{"dependencies": {"x": "1"}, "workspaces": ["web"]}',
        "package-lock.json": "",
    }
    (recipe,) = detected(files, "b/tests/test_b.py")
    assert recipe.folder == "b"
    (recipe,) = detected(files, "web/src/index.ts")
    assert (recipe.folder, recipe.commands) == ("web", ("cd .. && npm ci",))
    assert recipe.sources == ("package.json", "web/package.json", "package-lock.json")


def test_a_member_of_a_uv_workspace_uses_its_lock() -> None:
    files = {
        "pyproject.toml": "[tool.uv.workspace]\nmembers = ['libs/*']\n",
        "uv.lock": "",
        "libs/a/pyproject.toml": SHOP + BUILD,
    }
    recipe = only(files, "libs/a/x.py")
    assert installs(recipe) == ["uv sync --frozen --python 3.11.7 --package shop"]
    assert "uv.lock" in recipe.sources


def test_a_declaration_above_a_package_applies_to_it() -> None:
    files = {**MONO, ".autocode.toml": "[environment]\nsetup = ['make all']\n"}
    (recipe,) = detected(files, "a/src/a.py", "b/tests/test_b.py")
    assert (recipe.folder, recipe.commands[1]) == ("", "make all")


def test_the_digest_changes_with_what_the_environment_is_made_from_and_with_nothing_else() -> None:
    files = {
        "pyproject.toml": SHOP + BUILD,
        "requirements-test.txt": "-r more.txt\n",
        "more.txt": "x",
        "app.py": "",
    }
    digest = only(files).digest
    assert only({**files, "app.py": "new"}).digest == digest
    assert only({**files, "pyproject.toml": files["pyproject.toml"] + "[tool.ruff]\n"}).digest == digest
    assert only({**files, "more.txt": "y"}).digest != digest
    assert only({**files, "pyproject.toml": SHOP + "dependencies = ['a']\n" + BUILD}).digest != digest
    other = Toolset(pythons=TOOLSET.pythons[::-1])
    assert only(files, toolset=other).digest != digest


def test_sources_of_a_compiled_extension_are_part_of_the_environment() -> None:
    files = {"setup.py": "setup(ext_modules=[Extension('a', ['a.c'])])", "src/a.c": "1", "src/a.py": ""}
    assert only(files).sources == ("setup.py", "src/a.c")
    assert only(files).digest != only({**files, "src/a.c": "2"}).digest
    assert only({**files, "setup.py": "setup()"}).sources == ("setup.py",)
    image = replace(TOOLSET, installs_packages=True)
    assert only(files, toolset=image).packages == ("gcc", "g++", "libc6-dev", "python3-dev")
    assert only(files, toolset=replace(image, tools=frozenset({"gcc", "Python.h"}))).packages == ()


def test_a_version_from_git_is_given_to_the_build() -> None:
    pyproject = '[project]\nname = "a"\ndynamic = ["version"]\n[build-system]\nrequires = ["hatch-vcs"]\n'
    files = {"pyproject.toml": pyproject, ".gitignore": "*.pyc\n/src/a/_version.py\n"}
    recipe = only(files, version="4.5")
    assert ("SETUPTOOLS_SCM_PRETEND_VERSION", "4.5") in recipe.build_variables
    assert recipe.files == ("src/a/_version.py",)


def test_the_description_shows_reasons_and_commands() -> None:
    assert only({"requirements.txt": "flask"}).describe() == (
        "The environment is made from requirements.txt.\n"
        "- Python 3.11.7 (the machine's default)\n"
        "- From requirements.txt\n"
        "These commands run once, in the sandbox, with network:\n"
        f"    uv venv --python 3.11.7 {VENV}\n"
        "    uv pip install -r requirements.txt\n"
        "    uv pip install pytest"
    )


def test_the_digest_changes_with_the_declaration_of_a_package_beside() -> None:
    core = {"core/pyproject.toml": SHOP.replace("shop", "core") + BUILD}
    files = {
        "app/pyproject.toml": SHOP + BUILD,
        "app/requirements.txt": "-e ../core\n",
        "app/test_a.py": "",
        **core,
    }
    found = only(files, "app/test_a.py").digest
    more = {
        "core/pyproject.toml": core["core/pyproject.toml"] + "[project.optional-dependencies]\na = ['b']\n"
    }
    assert only(files | more, "app/test_a.py").digest != found


LINKER = ("gcc", "libc6-dev")


@pytest.mark.parametrize(
    ("files", "packages", "commands"),
    [
        ({"go.mod": "module x\n"}, ("golang-go", *LINKER), ()),
        ({"go.mod": "module x\nrequire a.b/c v1\n"}, ("golang-go", *LINKER), ("go mod download",)),
        ({"Cargo.toml": "[package]\n"}, ("cargo", *LINKER), ()),
        ({"package.json": '{"scripts": {"test": "node --test"}}'}, ("nodejs", "npm"), ()),
        ({"package.json": '{"devDependencies": {"a": "1"}, "scripts": {"test": "x"}}'},
         ("nodejs", "npm"), ("npm install --no-package-lock",)),
        ({"go.mod": "module x\n", ".autocode.toml": '[environment]\nsetup = ["./go"]\n'}, (), ("./go",)),
    ],
)  # fmt: skip
def test_an_image_gets_the_tools_that_it_lacks(
    files: dict[str, str], packages: tuple[str, ...], commands: tuple[str, ...]
) -> None:
    recipe = only(files, toolset=Toolset(installs_packages=True))
    assert (recipe.packages, recipe.commands, recipe.fatal) == (packages, commands, ())
