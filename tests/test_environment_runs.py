"""Whole runs on repositories that need an environment: asked for, built, refused, missing, changed."""

from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from gitrepo import GitRepo
from runs import PASS, Bench, Run, block, script

from graph.supervisor import Supervisor
from nodes.events import ToolResult

pytestmark = [pytest.mark.bubblewrap, pytest.mark.usefixtures("replays")]

SHOP = "import iniconfig\n\n\ndef one():\n    return 1\n"
TEN = SHOP + "\n\ndef ten():\n    return 10\n"
TEST_ONE = "from shop import one\n\n\ndef test_one():\n    assert one() == 1\n"
TEST_TEN = "from shop import ten\n\n\ndef test_ten():\n    assert ten() == 10\n"
NO_MUTANTS = '[test]\nmutants = "off"\n'
FILES = {
    "shop.py": SHOP,
    "requirements.txt": "iniconfig\n",
    "tests/test_shop.py": TEST_ONE,
    ".autocode.toml": NO_MUTANTS,
}

NAMED = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.10"\n'
LOCKED = {
    "uv.lock": {
        "pyproject.toml": NAMED,
        "uv.lock": 'version = 1\nrevision = 3\nrequires-python = ">=3.10"\n\n'
        '[[package]]\nname = "shop"\nversion = "1"\nsource = { virtual = "." }\n',
    },
    "requirements.txt": {"requirements.txt": "# ours\n--require-hashes\n"},
}


def plan(path: str) -> str:
    return (
        '{"explanation": "One function.", "steps": [{"agent": "coder", "description": "Add ten", '
        f'"file": "{path}"}}]}}'
    )


def bench_of(desk: Desk, home: Path, path: Path, files: dict[str, str], coder: str, tester: str) -> Bench:
    script(desk, planner=plan("shop.py"), coder=coder, tester=tester, debugger=coder, critic=PASS)
    repo = GitRepo(path)
    repo.commit(dict(files))
    return Bench(desk, home, repo)


@pytest.fixture
def shop(desk: Desk, home: Path, tmp_path: Path) -> Bench:
    """A shop whose code needs a package, and agents that add a function to it."""
    coder, tester = block("shop.py", TEN), block("tests/test_ten.py", TEST_TEN)
    return bench_of(desk, home, tmp_path / "shop", FILES, coder, tester)


def said(run: Run) -> str:
    return "\n".join(str(event.message) for event in run.of("error"))


async def test_a_first_build_asks_and_its_answer_is_remembered(shop: Bench) -> None:
    async with Supervisor.open(shop.settings()) as supervisor:
        given: Any = {"task": "Add ten", "repo": str(shop.repo.path)}
        run = await supervisor.submit(given, "t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        (question,) = await supervisor.pending("t")
        assert question.request["kind"] == "environment"
        assert "uv pip install -r requirements.txt" in question.request["commands"]
        assert question.request["sources"] == ["requirements.txt"]
        assert shop.desk.prompts("You are") == []  # nothing is paid before the answer
        await supervisor.resume("t", {question.id: {"decision": "approve"}})
        assert (await supervisor.wait(run.id)).status == "verified"
    (environment,) = (again := await shop.run("Add ten")).proof.environments
    assert again.end.status == "verified" and again.of("approval.required") == []
    assert environment.sources == ["requirements.txt"]
    assert again.of("environment") == []
    # The build of a clone may have run other code, such as what a setup.py imports.
    shop.repo.git("clone", "-q", ".", "../clone")
    async with Supervisor.open(shop.settings()) as supervisor:
        other = await supervisor.submit(given | {"repo": str(shop.repo.path.parent / "clone")}, "c")
        assert (await supervisor.wait(other.id)).status == "waiting"


async def test_a_refused_environment_is_asked_about_and_never_verified(shop: Bench) -> None:
    async with Supervisor.open(shop.settings()) as supervisor:
        given: Any = {"task": "Add ten", "repo": str(shop.repo.path)}
        run = await supervisor.submit(given, "t")
        await supervisor.wait(run.id)
        (build,) = await supervisor.pending("t")
        await supervisor.resume("t", {build.id: {"decision": "reject", "reason": "not today"}})
        await supervisor.wait(run.id)
        (on,) = await supervisor.pending("t")
        assert "not today" in on.request["problem"] and on.request["commands"] == []
        assert shop.desk.prompts("You are") == []
        await supervisor.resume("t", {on.id: {"decision": "approve"}})
        assert (await supervisor.wait(run.id)).status == "unverified"
        end = (await supervisor.journal.events.read("t"))[-1].data
    assert "the environment is missing" in str(getattr(end, "reason", ""))
    assert shop.desk.prompts("You are the debugger") == []


async def test_a_run_ends_unpaid_when_nobody_wants_it_without_the_environment(shop: Bench) -> None:
    (shop.repo.path / "requirements.txt").write_text("no-such-package-for-autocode-tests==1\n")
    async with Supervisor.open(shop.settings(environment_approval="auto")) as supervisor:
        given: Any = {"task": "Add ten", "repo": str(shop.repo.path)}
        run = await supervisor.submit(given, "t")
        await supervisor.wait(run.id)
        (on,) = await supervisor.pending("t")
        assert "no registry has the package no-such-package-for-autocode-tests" in on.request["problem"]
        assert ".autocode.toml" in on.request["problem"]
        await supervisor.resume("t", {on.id: {"decision": "reject"}})
        assert (await supervisor.wait(run.id)).status == "cancelled"
    assert shop.desk.prompts("You are") == []


async def test_a_tool_installs_a_package_once_a_human_agrees_and_declares_it(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    files = {name: text for name, text in FILES.items() if name != "requirements.txt"}
    files["shop.py"] = "def one():\n    return 1\n"
    files["pyproject.toml"] = (
        '[project]\nname = "shop"\nversion = "1"\n[tool.setuptools]\npy-modules = ["shop"]\n'
    )
    coder = block("shop.py", "import six\n\n\ndef one():\n    return 1\n\n\ndef ten():\n    return 10\n")
    bench = bench_of(desk, home, tmp_path / "shop", files, coder, block("tests/test_ten.py", TEST_TEN))
    steps = [
        {"agent": "tool", "description": "We need six", "tool_name": "pip_install",
         "tool_params": {"packages": ["six>=1.16"]}},
        {"agent": "coder", "description": "Add ten", "file": "shop.py"},
        {"agent": "tool", "description": "Look", "tool_name": "pip_list", "tool_params": {}},
    ]  # fmt: skip
    settings = bench.settings(environment_approval="auto")  # the tool asks all the same
    async with Supervisor.open(settings) as supervisor:
        given: Any = {"task": "Add ten", "repo": str(bench.repo.path), "steps": steps}
        run = await supervisor.submit(given, "t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        (question,) = await supervisor.pending("t")
        assert question.request["command"] == "pip install 'six>=1.16'"
        await supervisor.resume("t", {question.id: {"decision": "approve"}})
        ended = await supervisor.wait(run.id)
        events = await supervisor.journal.events.read("t")
        results = [event.data for event in events if isinstance(event.data, ToolResult)]
        assert ended.status == "verified", [event.wire for event in events[-3:]]
    assert '+    "six>=1.16",' in results[0].stdout
    assert "six " in results[1].stdout
    declared = bench.repo.git("show", f"{ended.branch}:pyproject.toml")
    assert 'dependencies = [\n    "six>=1.16",\n]' in declared


@pytest.mark.parametrize("lock", ["uv.lock", "requirements.txt"])
async def test_a_lock_follows_what_a_tool_installs(lock: str, desk: Desk, home: Path, tmp_path: Path) -> None:
    files = {name: FILES[name] for name in ("tests/test_shop.py", ".autocode.toml")}
    files |= {"shop.py": "def one():\n    return 1\n", **LOCKED[lock]}
    coder = block("shop.py", "import six\n\n\ndef one():\n    return 1\n\n\ndef ten():\n    return 10\n")
    bench = bench_of(desk, home, tmp_path / "shop", files, coder, block("tests/test_ten.py", TEST_TEN))
    steps = [
        {"agent": "coder", "description": "Add ten", "file": "shop.py"},
        {"agent": "tool", "description": "We need six", "tool_name": "pip_install",
         "tool_params": {"packages": ["six"]}},
        {"agent": "tool", "description": "Look", "tool_name": "pip_list", "tool_params": {}},
    ]  # fmt: skip
    async with Supervisor.open(bench.settings(environment_approval="auto")) as supervisor:
        given: Any = {"task": "Add ten", "repo": str(bench.repo.path), "steps": steps}
        run = await supervisor.submit(given, "t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        (question,) = await supervisor.pending("t")
        assert lock in question.request["renewal"] and "+" in "".join(question.request["difference"])
        await supervisor.resume("t", {question.id: {"decision": "approve"}})
        ended = await supervisor.wait(run.id)
        events = await supervisor.journal.events.read("t")
    results = [event.data for event in events if isinstance(event.data, ToolResult)]
    assert ended.status == "verified", [event.wire for event in events[-3:]]
    assert "\nsix " in results[1].stdout and "six" in bench.repo.git("show", f"{ended.branch}:{lock}")


async def test_no_rule_about_a_package_covers_what_earlier_steps_declared(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    coder = block(".autocode.toml", NO_MUTANTS + "[environment]\nsetup = ['touch /tmp/not-seen']\n")
    bench = bench_of(desk, home, tmp_path / "shop", FILES, coder, block("tests/test_ten.py", TEST_TEN))
    steps = [
        {"agent": "coder", "description": "Set it up", "file": ".autocode.toml"},
        {"agent": "tool", "description": "We need six", "tool_name": "pip_install",
         "tool_params": {"packages": ["six"]}},
    ]  # fmt: skip
    async with Supervisor.open(bench.settings(tool_policy={"pip_install:six": "allow"})) as supervisor:
        given: Any = {"task": "Add ten", "repo": str(bench.repo.path), "steps": steps}
        run = await supervisor.submit(given, "t")
        await supervisor.wait(run.id)
        (first,) = await supervisor.pending("t")
        await supervisor.resume("t", {first.id: {"decision": "approve"}})
        assert (await supervisor.wait(run.id)).status == "waiting"
        (question,) = await supervisor.pending("t")
        assert question.request["tool"] == "pip_install"
        assert "touch /tmp/not-seen" in question.request["reason"]


async def test_a_new_dependency_gets_an_environment_of_its_own(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    coder = "\n\n".join(
        (
            block("shop.py", TEN.replace("import iniconfig", "import iniconfig\nimport six")),
            block("requirements.txt", "iniconfig\nsix\n"),
        )
    )
    shop = bench_of(desk, home, tmp_path / "shop", FILES, coder, block("tests/test_ten.py", TEST_TEN))
    async with Supervisor.open(shop.settings()) as supervisor:
        given: Any = {"task": "Add ten, with six", "repo": str(shop.repo.path)}
        run = await supervisor.submit(given, "t")
        await supervisor.wait(run.id)
        (first,) = await supervisor.pending("t")
        await supervisor.resume("t", {first.id: {"decision": "approve"}})
        await supervisor.wait(run.id)
        (second,) = await supervisor.pending("t")
        assert "+six" in second.request["difference"]
        await supervisor.resume("t", {second.id: {"decision": "approve"}})
        await supervisor.wait(run.id)
        done = Run(await supervisor.journal.events.read("t"))
    assert done.end.status == "verified", done.end.reason
    proof = done.proof
    assert [environment.side for environment in proof.environments] == ["base", "change"]


async def test_a_copy_of_the_project_among_the_packages_makes_the_check_red(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    files = {
        "lib/shop/__init__.py": "def one():\n    return 1\n",
        "tests/test_shop.py": TEST_ONE,
        "pyproject.toml": "",
        ".autocode.toml": NO_MUTANTS
        + '[environment]\nsetup = ["cp -r lib/shop $VIRTUAL_ENV/lib/python3*/site-packages"]\n',
    }
    coder = block("lib/shop/__init__.py", "def one():\n    return 1\n\n\ndef ten():\n    return 10\n")
    test = "import shop\n\n\ndef test_ten():\n    assert shop.one() == 1\n"
    shop = bench_of(desk, home, tmp_path / "shop", files, coder, block("tests/test_ten.py", test))
    run = await shop.run("Add ten", options={"auto_approve": True})
    assert run.end.status == "unverified"
    assert "the tests imported shop from site-packages" in str(run.end.reason)


async def test_each_package_of_a_repository_is_checked_in_its_folder(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    settings = '[tool.pytest.ini_options]\npythonpath = ["src"]\ntestpaths = ["tests"]\n'
    files: dict[str, str] = {}
    for name in ("alpha", "beta"):
        place = f"packages/{name}"
        files |= {f"{place}/pyproject.toml": settings, f"{place}/src/{name}.py": "def one():\n    return 1\n"}
        files |= {f"{place}/tests/test_core.py": TEST_ONE.replace("shop", name)}
    coder = "\n\n".join(
        block(f"packages/{name}/src/{name}.py", "def one():\n    return 1\n\n\ndef ten():\n    return 10\n")
        for name in ("alpha", "beta")
    )
    tester = block("packages/alpha/tests/test_ten.py", TEST_TEN.replace("shop", "alpha"))
    bench = bench_of(desk, home, tmp_path / "mono", files, coder, tester)
    run = await bench.run("Add ten")
    assert run.end.status == "verified"
    ids = {case.id for case in run.proof.cases}
    assert "packages/alpha: tests.test_ten::test_ten" in ids
    assert "packages/beta: tests.test_core::test_one" in ids
    assert run.proof.scope == "all"


async def test_a_package_that_depends_on_the_change_is_built_and_checked(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    one = "def one():\n    return 1\n"
    settings = '[tool.pytest.ini_options]\npythonpath = ["src"]\n'
    files = {f"{name}/pyproject.toml": settings for name in ("alpha", "beta", "gamma", "lone")}
    files |= {f"{name}/src/{name}.py": one for name in ("alpha", "lone")}
    for name in ("beta", "gamma"):
        files[f"{name}/src/{name}.py"] = "import iniconfig\nfrom alpha import one\n"
        files[f"{name}/requirements.txt"] = "iniconfig\n"
        files[f"{name}/pyproject.toml"] = settings.replace('"]', '", "../alpha/src"]')
    for name in ("alpha", "beta", "gamma", "lone"):
        files[f"{name}/tests/test_core.py"] = TEST_ONE.replace("shop", name)
    coder = block("alpha/src/alpha.py", one + "\n\ndef ten():\n    return 10\n")
    tester = block("alpha/tests/test_ten.py", TEST_TEN.replace("shop", "alpha"))
    bench = bench_of(desk, home, tmp_path / "mono", files, coder, tester)
    async with bench.supervisor() as supervisor:
        given: Any = {"task": "Add ten", "repo": str(bench.repo.path)}
        run = await supervisor.submit(given, "t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        (question,) = await supervisor.pending("t")  # one for both packages
        assert {"beta/requirements.txt", "gamma/requirements.txt"} <= {*question.request["sources"]}
        await supervisor.resume("t", {question.id: {"decision": "approve"}})
        await supervisor.wait(run.id)
        done = Run(await supervisor.journal.events.read("t"))
    assert done.end.status == "verified", done.end.reason
    assert done.proof.scope == "all" and done.summary.weaknesses == []
    assert {environment.folder for environment in done.proof.environments} == {"beta", "gamma"}
    assert {case.id.partition(":")[0] for case in done.proof.cases} == {"alpha", "beta", "gamma"}


async def test_a_dependent_that_has_a_copy_of_the_changed_package_is_named(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    one = "def one():\n    return 1\n"
    setup = '[environment]\nsetup = ["cp ../alpha/alpha.py $VIRTUAL_ENV/lib/python3*/site-packages"]\n'
    files = {f"{name}/pyproject.toml": "" for name in ("alpha", "beta")}
    files |= {"alpha/alpha.py": one, "beta/beta.py": "from alpha import one\n"}
    files |= {f"{name}/tests/test_core.py": TEST_ONE.replace("shop", name) for name in ("alpha", "beta")}
    files["beta/.autocode.toml"] = NO_MUTANTS + setup
    coder = block("alpha/alpha.py", one + "\n\ndef ten():\n    return 10\n")
    tester = block("alpha/tests/test_ten.py", TEST_TEN.replace("shop", "alpha"))
    bench = bench_of(desk, home, tmp_path / "mono", files, coder, tester)
    run = await bench.run("Add ten", options={"auto_approve": True})
    assert run.end.status == "verified", run.end.reason
    said = "beta: it depends on what the change edits, but the tests imported alpha from site-packages"
    assert any(said in weakness for weakness in run.summary.weaknesses)


async def test_an_ignored_module_that_the_code_imports_comes_from_the_checkout(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    files = {
        ".gitignore": "_version.py\n",
        ".autocode.toml": NO_MUTANTS,
        "shop/__init__.py": "from shop._version import version\n\n\ndef one():\n    return 1\n",
        "tests/test_shop.py": TEST_ONE,
    }
    coder = block("shop/__init__.py", files["shop/__init__.py"] + "\n\ndef ten():\n    return 10\n")
    shop = bench_of(desk, home, tmp_path / "shop", files, coder, block("tests/test_ten.py", TEST_TEN))
    (shop.repo.path / "shop/_version.py").write_text('version = "1"\n')
    (shop.repo.path / "shop/secret_keys.py").write_text('key = "1"\n')
    run = await shop.run("Add ten")
    assert run.end.status == "verified"
    assert "taken from your checkout" in said(run) and "shop/_version.py" in said(run)
    assert "secret_keys" not in said(run)


async def test_a_change_does_not_choose_which_ignored_files_its_tests_see(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    one = "def one():\n    return 1\n"
    files = {
        ".gitignore": "conf/\nprod.py\n",
        ".autocode.toml": NO_MUTANTS,
        "shop.py": one,
        "tests/test_shop.py": TEST_ONE,
    }
    coder = "\n\n".join(
        (
            block("shop.py", f"import prod\n\n\n{one}\n\ndef ten():\n    return 10\n"),
            block(".autocode.toml", NO_MUTANTS + '[environment]\nfiles = ["conf"]\n'),
        )
    )
    test = TEST_TEN + "\n\ndef test_conf():\n    assert open('conf/live.yaml').read() == ''\n"
    shop = bench_of(desk, home, tmp_path / "shop", files, coder, block("tests/test_ten.py", test))
    shop.repo.put("conf/live.yaml", "hunter2\n")
    shop.repo.put("prod.py", "hunter2 = 1\n")
    run = await shop.run("Add ten", options={"auto_approve": True})
    assert run.end.status == "unverified"
    assert "does not get them: conf, prod.py" in said(run)
    assert "hunter2" not in "".join(str(event) for event in run.events)
    assert "hunter2" not in "".join(shop.desk.prompts("You are"))


async def test_what_does_not_run_on_the_base_is_said_and_nobody_mends_it(
    desk: Desk, home: Path, tmp_path: Path
) -> None:
    files = {
        "shop.py": SHOP.replace("import iniconfig\n", "").lstrip(),
        "tests/test_shop.py": "import nosuchmodule\n" + TEST_ONE,
        "tests/test_bad.py": "def test_bad():\n    assert 1 == 2\n",
        ".autocode.toml": NO_MUTANTS,
    }
    coder = block("shop.py", TEN.replace("import iniconfig\n", "").lstrip())
    shop = bench_of(desk, home, tmp_path / "shop", files, coder, block("tests/test_ten.py", TEST_TEN))
    run = await shop.run("Add ten")
    assert "tests/test_shop.py cannot be imported on the base: " in said(run)
    assert "No module named 'nosuchmodule'" in said(run)
    assert "tests.test_bad::test_bad" in said(run)
    assert run.end.status == "unverified" and desk.prompts("You are the debugger") == []
