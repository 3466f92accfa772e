"""The packages that depend on a changed one, which the check runs as well."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import LIMITS, Files, Project, fates

from nodes.check import PackageSandboxes, prove
from nodes.check.execution.package_sandboxes import packages_of
from nodes.check.suites.reach import MOST_DEPENDENTS, Reach
from nodes.proof import Proof
from sandbox.base import Sandbox
from tools.workspace import Workspace

PATHS = '[tool.pytest.ini_options]\npythonpath = ["src", "../core/src", "../kit/src"]\n'
OFF = {".autocode.toml": '[test]\nmutants = "off"\n'}
CORE = "def price():\n    return 3\n"
DOUBLED = CORE.replace("3", "6")
FREE = CORE + "\n\ndef free():\n    return 0\n"
TEST = "from {module} import {name}\n\n\ndef test_{name}():\n    assert {name}() == {value}\n"


def package(name: str, source: str, test: str = "", needs: str = "") -> dict[str, str]:
    """A Python package, which may declare a dependency. Without a test it has no test file."""
    project = f"[project]\nname = 'acme.{name}'\ndependencies = [{needs!r}]\n"
    files = {f"libs/{name}/pyproject.toml": project + PATHS, f"libs/{name}/src/{name}/__init__.py": source}
    return files | ({f"libs/{name}/tests/test_{name}.py": test} if test else {})


def case_of(module: str, name: str, value: int) -> str:
    return TEST.format(module=module, name=name, value=value)


CORE_FILES = package("core", CORE, case_of("core", "price", 3))
SHOP = package(
    "shop", "from core import price\n\n\ndef total():\n    return 2 * price()\n", case_of("shop", "total", 6)
)
LONE = package("lone", "def one():\n    return 1\n", case_of("lone", "one", 1))
NEW_TEST = {"libs/core/tests/test_free.py": case_of("core", "free", 0)}
FREED = {"libs/core/src/core/__init__.py": FREE} | NEW_TEST
CHANGE = {
    "libs/core/src/core/__init__.py": DOUBLED,
    "libs/core/tests/test_core.py": case_of("core", "price", 6),
}


def reach(path: Path, base: Files, change: Files) -> Reach:
    workspace = Workspace.init(path)
    before = workspace.write(workspace.begin().snapshot, base, "base")
    return Reach.of(workspace, before, workspace.write(before, change, "change"))


async def proof_of(here: Project, change: Files, missing: str = "") -> Proof:
    """Prove a change in the packages that it concerns, in bare sandboxes. `missing` is for dependents."""
    head = here.workspace.write(here.base, change, "change")
    return await prove(
        here.workspace,
        [
            PackageSandboxes.bare(here.sandbox, folder, missing if dependent else "", dependent)
            for folder, dependent in packages_of(here.workspace, here.base, head).items()
        ],
        here.base,
        head,
        limits=LIMITS,
        seconds=LIMITS.seconds,
        cache=here.cache,
        notify=lambda type, data: here.events.append((type, data)),
    )


def requiring(declaration: str, text: str) -> dict[str, str]:
    return {f"libs/shop/{declaration}": text, "libs/shop/tests/test_shop.py": "def test_a():\n    pass\n"}


@pytest.mark.parametrize(
    "shop",
    [
        requiring("pyproject.toml", "[project]\nname = 's'\ndependencies = ['Acme_Core>=1']\n"),
        requiring("pyproject.toml", "[project.optional-dependencies]\ntest = ['acme-core[x]']\n"),
        requiring("pyproject.toml", "[dependency-groups]\ndev = ['acme-core ; python_version > \"3\"']\n"),
        requiring("pyproject.toml", "[tool.uv.sources]\ncore = { path = '../core', editable = true }\n"),
        requiring("pyproject.toml", "[tool.poetry.dependencies]\ncore = { path = '../core/' }\n"),
        requiring("pyproject.toml", "[tool.poetry.group.dev.dependencies]\nacme-core = '*'\n"),
        requiring("pyproject.toml", "[project]\ndependencies = ['x @ file:///${PROJECT_ROOT}/../core']\n"),
        requiring("requirements.txt", "pytest\n-e ../core[all]\n"),
        requiring("requirements-dev.txt", "libs/core\n") | {"libs/shop/setup.py": ""},
        requiring("requirements.txt", "-r ../all.txt\n") | {"libs/all.txt": "acme.core==1\n"},
        requiring("setup.cfg", "[options]\ninstall_requires =\n    pytest\n    acme.core\n"),
        requiring("setup.py", "setup(name='s', install_requires=['acme-core'])\n"),
        requiring("setup.py", "") | {"libs/shop/tests/test_b.py": "from core import price\n"},
        requiring("setup.py", "") | {"libs/shop/m.py": "def f():\n    import core.deep as deep\n"},
        requiring("setup.py", "") | {"libs/shop/m.py": "m = __import__('core')\n"},
    ],
)
def test_a_package_that_declares_or_imports_the_changed_one_depends_on_it(
    shop: dict[str, str], tmp_path: Path
) -> None:
    found = reach(tmp_path, CORE_FILES | LONE | shop, FREED)
    assert found == Reach(("libs/core",), ("libs/shop",))


def node(name: str, **fields: object) -> dict[str, str]:
    script = {"test": "node --test"}
    return {
        f"{name}/package.json": json.dumps({"name": f"@acme/{name}", "scripts": script} | fields),
        f"{name}/index.js": "exports.one = () => 1\n",
        f"{name}/test/{name}.test.js": f"require('node:test')('{name}', () => require('..'))\n",
    }


def go(name: str, *lines: str) -> dict[str, str]:
    text = "\n".join([f"module acme.example/{name} // us", "go 1.22", *lines])
    return {f"{name}/go.mod": text, f"{name}/{name}.go": "package x\n", f"{name}/x_test.go": "package x\n"}


def rust(name: str, text: str = "") -> dict[str, str]:
    return {f"{name}/Cargo.toml": f"[package]\nname = '{name}'\n{text}", f"{name}/src/lib.rs": ""}


@pytest.mark.parametrize(
    "files",
    [
        node("core") | node("lone") | node("shop", dependencies={"@acme/core": "workspace:*"}),
        node("core") | node("lone") | node("shop", devDependencies={"kernel": "file:../core"}),
        node("core") | node("lone") | node("shop", peerDependencies={"@acme/core": "^1.0.0"}),
        go("core") | go("lone") | go("shop", "require acme.example/core v1.0.0 // ours"),
        go("core") | go("lone") | go("shop", "require (", "\tx.example/a v1", "\tacme.example/core v1", ")"),
        go("core") | go("lone") | go("shop", "replace x.example/core => ../core"),
        rust("core") | rust("lone") | rust("shop", "[dependencies]\nc = { path = '../core' }\n"),
        rust("core") | rust("lone") | rust("shop", "[dependencies]\ncore = { workspace = true }\n"),
        rust("core") | rust("shop", "[target.'cfg(unix)'.dev-dependencies]\nc = { path = '../core' }\n"),
    ],
)
def test_dependents_are_found_in_other_ecosystems(files: Files, tmp_path: Path) -> None:
    source = next(path for path in files if path.startswith("core/") and path.endswith((".go", ".rs", ".js")))
    assert reach(tmp_path, files, {source: "// changed\n"}) == Reach(("core",), ("shop",))


def test_a_chain_is_followed_through_packages_without_tests(tmp_path: Path) -> None:
    kit = package("kit", "", needs="acme-core")
    end = package("end", "", case_of("end", "one", 1), needs="acme-shop")
    base = CORE_FILES | kit | end | package("shop", "import kit\n", case_of("shop", "total", 6))
    assert reach(tmp_path, base, FREED) == Reach(("libs/core",), ("libs/shop", "libs/end"))


def test_the_root_may_depend_on_a_package(tmp_path: Path) -> None:
    root = {"pyproject.toml": "[project]\nname = 'app'\n", "tests/test_app.py": "import core\n"}
    assert reach(tmp_path, CORE_FILES | LONE | root, FREED) == Reach(("libs/core",), ("",))


@pytest.mark.parametrize(
    ("shop", "change"),
    [
        (SHOP, NEW_TEST),
        (SHOP, {"libs/core/README.md": "words\n"}),
        ({path.replace("libs/shop", "examples/shop"): text for path, text in SHOP.items()}, FREED),
        ({path: text for path, text in SHOP.items() if "tests" not in path}, FREED),
        (package("shop", "import corex\nimport os\n# from core\n", case_of("shop", "total", 6)), FREED),
        (SHOP | {"libs/shop/core.py": ""}, FREED),
    ],
)
def test_other_packages_are_left_alone(shop: dict[str, str], change: Files, tmp_path: Path) -> None:
    assert reach(tmp_path, CORE_FILES | shop, change).dependents == ()


def test_parts_of_a_namespace_are_told_apart(tmp_path: Path) -> None:
    def part(name: str, source: str) -> dict[str, str]:
        place = f"libs/{name}"
        test = {f"{place}/tests/test_{name}.py": "def test_a():\n    pass\n"}
        return {f"{place}/setup.py": "", f"{place}/src/acme/{name}/__init__.py": source} | test

    base = part("core", "") | part("shop", "from acme import core\n") | part("lone", "import acme.lone\n")
    found = reach(tmp_path, base, {"libs/core/src/acme/core/__init__.py": "x = 1\n"})
    assert found == Reach(("libs/core",), ("libs/shop",))


def test_the_nearest_dependents_are_checked_and_the_rest_is_named(tmp_path: Path) -> None:
    base = dict(CORE_FILES)
    names = [f"n{number}" for number in range(MOST_DEPENDENTS)]
    for name in names:
        base |= package(name, "import core\n", case_of(name, "one", 1))
    base |= package("a", "import n0\n", case_of("a", "one", 1))
    found = reach(tmp_path, base, FREED)
    assert found.dependents == tuple(f"libs/{name}" for name in names) and found.left_out == ("libs/a",)


def test_packages_whose_declarations_cannot_be_read_are_named(tmp_path: Path) -> None:
    broken = {
        "libs/old/pyproject.toml": "[project",
        "libs/old/tests/test_old.py": "def test_a():\n    pass\n",
    }
    assert reach(tmp_path / "a", CORE_FILES | broken, FREED).unread == ("libs/old",)
    java = {f"{name}/pom.xml": "<project/>" for name in ("one", "two")}
    java |= {f"{name}/src/test/java/ATest.java": "" for name in ("one", "two")} | {"one/A.java": ""}
    assert reach(tmp_path / "b", java | CORE_FILES, {"one/A.java": "//"}).unread == ("two",)
    assert reach(tmp_path / "c", java | CORE_FILES, FREED).unread == ()


async def test_a_dependent_package_is_checked_and_demands_nothing(
    project: Callable[[Files], Project],
) -> None:
    here = project(OFF | CORE_FILES | SHOP | LONE)
    proof = await proof_of(here, FREED)
    assert proof.proves and proof.gaps == [] and (proof.scope, proof.scope_reason) == ("all", "")
    assert fates(proof)["libs/shop: tests.test_shop::test_total"] == ("passed", "passed")
    assert proof.fail_to_pass == ["libs/core: tests.test_free::test_free"]
    assert not any("lone" in case.id for case in proof.cases)
    assert here.started.count("the base") == 2
    await proof_of(here, FREED | {"libs/core/notes.txt": ""})
    assert here.started.count("the base") == 2


async def test_only_the_changed_package_is_broken_by_mutants(project: Callable[[Files], Project]) -> None:
    here = project({".autocode.toml": ""} | CORE_FILES | SHOP)
    proof = await proof_of(here, FREED)
    assert proof.proves and proof.strength is not None and proof.strength.killed == proof.strength.tried
    commands = [data["command"] for type, data in here.events if "mutant" in str(data.get("what"))]
    assert commands and not any("--chdir=libs/shop" in command for command in commands)


@pytest.mark.parametrize("needs", ["", "acme-core"])
async def test_a_broken_dependent_makes_the_check_red(
    needs: str, project: Callable[[Files], Project]
) -> None:
    shop = SHOP
    if needs:  # by declaration alone: the module is found by a name that no import shows
        hidden = "import importlib\n\ncore = importlib.import_module('co' + 're')\n"
        source = hidden + "\n\ndef total():\n    return 2 * core.price()\n"
        shop = package("shop", source, case_of("shop", "total", 6), needs)
    proof = await proof_of(project(OFF | CORE_FILES | shop | LONE), CHANGE)
    assert not proof.green and not proof.base_shows_it
    assert [failure.id for failure in proof.failures] == ["libs/shop: tests.test_shop::test_total"]
    assert proof.problems[0].startswith("libs/shop: 1 case failed that passed on the base")


async def test_a_dependent_at_the_end_of_a_chain_is_red(project: Callable[[Files], Project]) -> None:
    kit = package("kit", "from core import price\n", case_of("kit", "price", 3).replace("== 3", "> 0"))
    shop = SHOP | {path: text.replace("core import", "kit import") for path, text in SHOP.items()}
    proof = await proof_of(project(OFF | CORE_FILES | kit | shop), CHANGE)
    assert fates(proof)["libs/kit: tests.test_kit::test_price"] == ("passed", "passed")
    assert fates(proof)["libs/shop: tests.test_shop::test_total"] == ("passed", "failed")


async def test_the_root_runs_without_the_tests_of_the_packages(project: Callable[[Files], Project]) -> None:
    root = {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["libs/core/src"]\n',
        "tests/test_app.py": case_of("core", "price", 3),
    }
    here = project(OFF | CORE_FILES | root)
    proof = await proof_of(here, FREED)
    assert proof.proves and "tests.test_app::test_price" in fates(proof) and len(proof.cases) == 3
    assert not (await proof_of(here, CHANGE)).green


async def test_a_dependent_that_does_not_run_on_the_base_is_no_fault_of_the_change(
    project: Callable[[Files], Project],
) -> None:
    shop = SHOP | {"libs/shop/tests/test_shop.py": "import nosuch\n" + case_of("shop", "total", 6)}
    here = project(OFF | CORE_FILES | shop)
    proof = await proof_of(here, FREED)
    assert proof.green and len(proof.gaps) == 1
    assert proof.gaps[0].startswith("libs/shop: not verified: it depends on what the change edits")
    proof = await proof_of(here, FREED, missing="no package acme-pay\nin any registry")
    assert proof.green and proof.gaps == ["the environment is missing: libs/shop: no package acme-pay"]


async def test_a_dependent_that_says_nothing_is_named(project: Callable[[Files], Project]) -> None:
    skipped = "import pytest\n\npytestmark = pytest.mark.skip\n\n" + case_of("shop", "total", 6)
    proof = await proof_of(
        project(OFF | CORE_FILES | SHOP | {"libs/shop/tests/test_shop.py": skipped}), FREED
    )
    assert proof.proves and proof.gaps == [] and proof.scope == "affected"
    assert proof.scope_reason.startswith("libs/shop: it depends on what the change edits, but its tests are")


async def test_a_dependent_that_is_too_slow_is_named(project: Callable[[Files], Project]) -> None:
    slow = "import time\n" + case_of("shop", "total", 6) + "    time.sleep(60)\n"
    config = {"libs/shop/.autocode.toml": "[test]\ntimeout = 3\n"}
    base = OFF | CORE_FILES | SHOP | config | {"libs/shop/tests/test_shop.py": slow}
    proof = await proof_of(project(base), FREED)
    assert proof.proves and proof.gaps == [] and proof.scope == "affected"
    assert proof.scope_reason.startswith("libs/shop: the whole suite does not end within 3 s on the base")


async def test_a_dependent_that_a_command_tests_counts_if_the_base_passes(
    tmp_path: Path, bubblewrap: Sandbox
) -> None:
    script = (
        "import sys\n\nsys.path.append('../core/src')\nimport core\n\nsys.exit(core.price() != {price})\n"
    )
    config = '[test]\ncommand = "python check.py"\n'
    for price, fate in ((3, "red"), (4, "unable")):
        shop = {"libs/shop/.autocode.toml": config, "libs/shop/check.py": script.format(price=price)}
        here = Project(tmp_path / fate, bubblewrap, OFF | CORE_FILES | shop)
        good, bad = await proof_of(here, FREED), await proof_of(here, CHANGE)
        assert good.green and good.grade == "tests" and good.exit_code == 0
        assert bool(good.gaps) == (fate == "unable") and bad.green == (fate == "unable")


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
async def test_a_broken_dependent_of_node_is_red(project: Callable[[Files], Project]) -> None:
    check = "require('node:test')('one', () => require('node:assert').equal(require('{}').one(), 1))\n"
    core = node("core") | {"core/test/core.test.js": check.format("..").replace("equal", "ok")}
    shop = node("shop", dependencies={"@acme/core": "file:../core"})
    base = OFF | core | shop | {"shop/test/shop.test.js": check.format("../../core")}
    proof = await proof_of(project(base), {"core/index.js": "exports.one = () => 2\n"})
    assert [failure.id for failure in proof.failures] == ["shop: shop/test/shop.test.js::one"]
