"""Suites that are judged by the exit code of a command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import Files, Project
from runs import BROKEN_MUL, MUL, Bench, block, script

from nodes.check.change import CheckedChange
from nodes.check.exit_code.definition import base_definition, changed_definition
from tools.workspace import Workspace

Make = Callable[[Files], Project]

CALC = {"calc.py": "def add(a, b):\n    return a + b\n"}
WRONG = {"calc.py": "def add(a, b):\n    return a - b\n"}
RUN = "import sys\n\nsys.path.insert(0, '.')\nfrom calc import add\n\nassert add(1, 2) == 3\n"
MAKE = CALC | {
    ".autocode.toml": '[test]\ncommand = "make test"\n',
    "Makefile": "include more.mk\nrun:\n\tpython calc.py\n\ntest:\n\t./scripts/all && python tests/run.py\n",
    "more.mk": "X = 1\n",
    "scripts/all": "#!/bin/sh\nexec sh scripts/real.sh\n",
    "scripts/real.sh": "true\n",
    "tests/run.py": RUN,
}
NPM = {
    ".autocode.toml": '[test]\ncommand = ["sh", "-c", "cd app && npm test"]\n',
    "app/package.json": '{"name": "a", "scripts": {"test": "node test.js"}}',
    "app/test.js": "require('./calc')\n",
    "app/calc.js": "",
}
PYTEST = {"calc.py": "", "tests/test_calc.py": ""}
SCRIPT = CALC | {
    ".autocode.toml": '[test]\ncommand = "sh check.sh"\n',
    "check.sh": "python run.py\n",
    "run.py": RUN,
}


def read(path: Path, base: Files, change: Files) -> tuple[Workspace, CheckedChange]:
    path.mkdir()
    workspace = Workspace.init(path)
    before = workspace.write(workspace.begin().snapshot, base, "base")
    after = workspace.write(before, change, "change")
    return workspace, CheckedChange.read(path, before, after)


@pytest.mark.parametrize(
    ("base", "change", "defined"),
    [
        (MAKE, WRONG, []),
        (MAKE, {"Makefile": "test:\n\ttrue\n"}, ["Makefile"]),
        (MAKE, {"more.mk": "SHELL = true\n"}, ["more.mk"]),
        (MAKE, {"scripts/all": "#!/bin/sh\n"}, ["scripts/all"]),
        (MAKE, {"scripts/real.sh": "exit 0\n"}, ["scripts/real.sh"]),
        (MAKE, {"tests/run.py": ""}, ["tests/run.py"]),
        (MAKE, {"tests/run.py": RUN + "assert add(2, 2) == 4\n"}, []),  # tests may be added
        (MAKE, {"sub/Makefile": "test:\n\ttrue\n"}, ["sub/Makefile"]),
        (MAKE, {".autocode.toml": '[test]\ncommand = "true"\n'}, [".autocode.toml"]),
        (MAKE, {".autocode.toml": MAKE[".autocode.toml"] + "[other]\nx = 1\n"}, []),
        (NPM, {"app/package.json": NPM["app/package.json"].replace('"a"', '"b"')}, []),
        (
            NPM,
            {"app/package.json": NPM["app/package.json"].replace("node test.js", "true")},
            ["app/package.json"],
        ),
        (NPM, {"app/package.json": "{"}, ["app/package.json"]),
        (NPM, {"app/jest.config.js": "module.exports = {}\n"}, ["app/jest.config.js"]),
        (NPM, {"app/calc.js": "1\n"}, []),
        (SCRIPT, {"check.sh": "exit 0\n"}, ["check.sh"]),
        (PYTEST, {".autocode.toml": "[test]\ntimeout = 9\n"}, [".autocode.toml"]),
        (PYTEST, {"Makefile": "test:\n\ttrue\n"}, []),
    ],
)
def test_the_files_that_define_the_command_are_known(
    tmp_path: Path, base: Files, change: Files, defined: list[str]
) -> None:
    workspace, checked = read(tmp_path / "repo", base, change)
    arguments = (workspace, checked.suite, checked.base, checked.head, checked.changed)
    assert changed_definition(*arguments) == defined


def test_the_bases_scripts_run_with_the_rest_of_a_changed_package(tmp_path: Path) -> None:
    text = '{"name": "b", "type": "module", "scripts": {"test": "true"}}'
    workspace, checked = read(tmp_path / "repo", NPM, {"app/package.json": text})
    mixed = base_definition(workspace, checked.base, checked.head, checked.definition)
    assert isinstance(written := mixed.pop("app/package.json"), bytes) and not mixed
    assert json.loads(written) == {"name": "b", "type": "module", "scripts": {"test": "node test.js"}}


@pytest.mark.bubblewrap
@pytest.mark.parametrize("weaker", [{"check.sh": "exit 0\n"}, {"run.py": ""}], ids=["command", "test"])
async def test_a_weakened_command_is_contradicted_by_that_of_the_base(project: Make, weaker: Files) -> None:
    names = {"run.py": "test_run.py"}
    base = {names.get(path, path): text.replace("run.py", "test_run.py") for path, text in SCRIPT.items()}
    change = {names.get(path, path): text for path, text in weaker.items()}
    proof = await project(base).prove(WRONG | change)
    assert proof.green and proof.contradicted == ["sh check.sh"]
    (gap,) = proof.gaps
    assert gap.startswith(f"not verified: the change edits {next(iter(change))}, which says what")
    assert "autocode apply" in gap


@pytest.mark.bubblewrap
async def test_a_good_change_with_more_tests_has_no_gap(project: Make) -> None:
    more = RUN.replace("assert", "from calc import double\n\nassert double(2) == 4\nassert")
    proof = await project(SCRIPT | {"check.sh": "python tests/run.py\n", "tests/run.py": RUN}).prove(
        {"calc.py": CALC["calc.py"] + "\n\ndef double(a):\n    return 2 * a\n", "tests/run.py": more}
    )
    assert proof.proves and not (proof.gaps or proof.contradicted)


@pytest.mark.bubblewrap
async def test_a_command_that_is_not_there_is_not_the_changes_fault(project: Make) -> None:
    here = project(CALC | {".autocode.toml": '[test]\ncommand = "sh -c nosuchprogram"\n', "tests/a.py": ""})
    proof = await here.prove(WRONG)
    assert proof.base_shows_it and not proof.green
    assert proof.problems[0].startswith("sh -c nosuchprogram fails here, on the base either (ended with")
    deleted = await here.prove({"tests/a.py": None})
    assert "the test file tests/a.py was deleted" in deleted.problems and not deleted.base_shows_it


@pytest.mark.bubblewrap
async def test_a_command_from_a_change_never_rules_the_threads_next_run(bench: Bench) -> None:
    own = block(".autocode.toml", '[test]\ncommand = "true"')
    script(bench.desk, coder=f"{MUL}\n\n{own}")
    first = await bench.run()
    assert first.end.status == "unverified"
    assert any(".autocode.toml, which says what the test command runs" in lack for lack in first.end.missing)
    script(bench.desk, coder=BROKEN_MUL, debugger="NOT THE CHANGE: the sandbox")
    second = await bench.run(thread=first.thread)
    assert second.end.status == "unverified" and second.proof.command[:3] == ["python", "-m", "pytest"]
