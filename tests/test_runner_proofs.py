"""Changes proved by node's own runner and by JUnit files, on a real sandbox."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Desk
from gitrepo import GitRepo
from projects import Files, Project, fates, suspects
from runs import PLAN, Bench, block, script

pytestmark = [
    pytest.mark.bubblewrap,
    pytest.mark.skipif(not shutil.which("node"), reason="needs node"),
]

Make = Callable[[Files], Project]

TEST = "const { test } = require('node:test')\nconst assert = require('node:assert')\n"
CALC = {
    "package.json": json.dumps({"scripts": {"test": "node --test", "build": "true"}}),
    "calc.js": "exports.add = (a, b) => {\n  return a + b\n}\n",
    "test/calc.test.js": TEST
    + "const { add } = require('../calc')\ntest('adds', () => assert.equal(add(1, 2), 3))\n"
    + "test('adds none', () => assert.equal(add(1, 0), 1))\n",
}
DOUBLE = {
    "calc.js": CALC["calc.js"] + "exports.double = (a) => {\n  return 2 * a\n}\n",
    "test/double.test.js": TEST
    + "const { double } = require('../calc')\ntest('doubles', () => assert.equal(double(4), 8))\n",
}
WRONG = {"calc.js": "exports.add = (a, b) => {\n  return a - b\n}\n"}
ADDS, NONE, NEW = (
    "test/calc.test.js::adds",
    "test/calc.test.js::adds none",
    "test/double.test.js::doubles",
)


async def test_a_right_change_is_proved_by_its_new_case(project: Make) -> None:
    here = project(CALC)
    proof = await here.prove(DOUBLE)
    assert proof.proves and proof.fail_to_pass == [NEW] and not proof.gaps
    assert fates(proof) == {ADDS: ("passed", "passed"), NONE: ("passed", "passed"), NEW: ("failed", "passed")}
    assert (proof.passed, proof.total, proof.grade, proof.command) == (3, 3, "tests", ["npm", "test"])
    assert not (proof.vacuous or proof.contradicted or proof.suspicious)
    runs = ["the base", "the base's tests on the change", "the change", "the change's tests on the base"]
    assert here.started == runs


async def test_a_wrong_change_is_red_with_its_output(project: Make) -> None:
    proof = await project(CALC).prove(WRONG | {"test/double.test.js": TEST})
    assert proof.problems == [f"1 case failed that passed on the base: {ADDS}"]
    assert [failure.id for failure in proof.failures] == [ADDS] and "-1 == 3" in proof.failures[0].text


async def test_a_weakened_test_is_contradicted_by_the_bases_version(project: Make) -> None:
    weak = CALC["test/calc.test.js"].replace("assert.equal(add(1, 2), 3)", "assert.ok(add)")
    proof = await project(CALC).prove(WRONG | {"test/calc.test.js": weak})
    assert proof.green and not proof.proves
    assert proof.contradicted == [ADDS] and "-1 == 3" in proof.old_errors[ADDS]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            CALC["test/calc.test.js"].rsplit("\n", 2)[0] + "\n",
            f"1 case passed on the base and vanished: {NONE}",
        ),
        (CALC["test/calc.test.js"].replace("test('adds none'", "test.skip('adds none'"), "got skipped"),
        (CALC["test/calc.test.js"].replace("test('adds none'", "process.exit(0); test('no'"), "vanished"),
        (None, "the test file test/calc.test.js was deleted"),
    ],
    ids=["removed", "skipped", "ended", "deleted"],
)
async def test_a_case_that_does_not_run_any_more_is_red(
    project: Make, text: str | None, problem: str
) -> None:
    proof = await project(CALC).prove(DOUBLE | {"test/calc.test.js": text})
    assert not proof.green and any(problem in each for each in proof.problems)


async def test_a_new_case_that_passes_on_the_base_proves_nothing(project: Make) -> None:
    idle = DOUBLE["test/double.test.js"].replace("assert.equal(double(4), 8)", "{}")
    proof = await project(CALC).prove(DOUBLE | {"test/double.test.js": idle})
    assert proof.green and not proof.proves and proof.vacuous == [NEW]


async def test_another_test_script_is_never_verified(project: Make) -> None:
    here = project(CALC)
    for text in ("true", "node --test --test-name-pattern=doubles"):
        package = json.dumps({"scripts": {"test": text}})
        proof = await here.prove(DOUBLE | {"package.json": package})
        assert proof.green and "edits package.json" in proof.gaps[0] and suspects(proof) == {"package.json"}
    other = json.dumps({"version": "1", "scripts": {"test": "node --test", "build": "false"}})
    assert not (await here.prove(DOUBLE | {"package.json": other})).gaps


async def test_a_file_that_does_not_load_is_a_failing_case(project: Make) -> None:
    text = DOUBLE["test/double.test.js"].replace("../calc", "../double")
    here = project(CALC)
    proof = await here.prove({"test/double.test.js": text})
    assert proof.problems == ["1 case failed: ::test/double.test.js"]
    assert "Cannot find module '../double'" in proof.failures[0].text
    proof = await here.prove({"test/double.test.js": text, "double.js": DOUBLE["calc.js"]})
    assert proof.fail_to_pass == [NEW] and fates(proof)[NEW] == ("error", "passed")


async def test_a_project_without_tests_gets_its_first_one(project: Make) -> None:
    base = {"package.json": "{}", "calc.js": CALC["calc.js"]}
    proof = await project(base).prove(DOUBLE)
    assert proof.proves and proof.baseline == "known" and proof.command == ["node", "--test"]


async def test_a_file_that_loads_nowhere_leaves_its_subject_unverified(project: Make) -> None:
    broken = {"test/other.test.js": TEST + "require('gone')\nrequire('../calc')\n"}
    proof = await project(CALC | broken).prove(DOUBLE)
    assert proof.green and [module.file for module in proof.uncollected] == ["test/other.test.js"]
    assert "Cannot find module 'gone'" in proof.gaps[0] and "calc.js" in proof.gaps[0]


async def test_an_npm_test_that_is_no_known_runner_is_judged_by_its_exit_code(project: Make) -> None:
    base = {"package.json": '{"scripts": {"test": "node check.js"}}', "check.js": "require('./calc')\n"}
    proof = await project(CALC | base).prove(DOUBLE)
    assert (proof.grade, proof.command, proof.green) == ("exit code", ["npm", "test"], True)


REPORTS = """\
const fs = require('node:fs')
fs.mkdirSync('out', { recursive: true })
let failed = 0
for (const file of fs.readdirSync('tests')) {
  let cases = ''
  require('./tests/' + file)((name, got, wanted) => {
    const fault = got === wanted ? '' : `<failure>${got} is not ${wanted}</failure>`
    if (fault) failed = 3
    cases += `<testcase name="${name}">${fault}</testcase>`
  })
  const suite = `<testsuite name="${file.replace('.js', '')}">${cases}</testsuite>`
  fs.writeFileSync(`out/${file}.xml`, suite)
}
process.exitCode = failed
"""
OWN = {
    ".autocode.toml": '[test]\ncommand = "node report.js"\nreport = "out/*.xml"\nmutants = "off"\n',
    "report.js": REPORTS,
    "calc.js": CALC["calc.js"],
    "tests/calc.js": "const calc = require('../calc')\nmodule.exports = (check) => {\n"
    "  check('adds', calc.add(1, 2), 3)\n  check('adds none', calc.add(1, 0), 1)\n}\n",
}
TWICE = {
    "calc.js": DOUBLE["calc.js"],
    "tests/double.js": "const calc = require('../calc')\n"
    "module.exports = (check) => check('doubles', calc.double?.(4), 8)\n",
}


async def test_junit_files_prove_a_change_case_by_case(project: Make) -> None:
    here = project(OWN)
    proof = await here.prove(TWICE)
    assert proof.proves and proof.fail_to_pass == ["double::doubles"] and not proof.gaps
    assert (proof.passed, proof.command) == (3, ["node", "report.js"])
    proof = await here.prove(WRONG)
    assert proof.problems == ["1 case failed that passed on the base: calc::adds"]
    assert (proof.exit_code, proof.failures[0].text) == (3, "-1 is not 3")
    kept = OWN["tests/calc.js"].replace("calc.add(1, 2)", "3")
    proof = await here.prove(WRONG | {"tests/calc.js": kept})
    assert proof.green and proof.contradicted == ["calc::adds"]
    proof = await here.prove(
        TWICE
        | {"tests/calc.js": OWN["tests/calc.js"].replace("  check('adds none', calc.add(1, 0), 1)\n", "")}
    )
    assert proof.problems == ["1 case passed on the base and vanished: calc::adds none"]
    proof = await here.prove(
        TWICE | {"tests/double.js": TWICE["tests/double.js"].replace("calc.double?.(4)", "8")}
    )
    assert proof.green and proof.vacuous == ["double::doubles"] and not proof.proves


async def test_junit_files_must_be_the_commands_own_and_agree_with_its_exit_code(project: Make) -> None:
    here = project(OWN)
    forged = "<testsuite name='calc'><testcase name='adds'/><testcase name='adds none'/></testsuite>"
    proof = await here.prove({"calc.js": "process.exit(0)\n", "out/calc.xml": forged})
    assert proof.problems == ["no test was collected"]
    proof = await here.prove({"calc.js": "process.exit(4)\n"})
    assert proof.problems == ["no test was collected: node ended with exit code 4"]
    hidden = "process.on('exit', () => process.reallyExit(0))\n"
    proof = await here.prove({"calc.js": WRONG["calc.js"] + hidden})
    assert proof.problems[0].startswith("report not trusted: exit code 0, but it holds failures")
    proof = await here.prove(TWICE | {"report.js": "1\n"})
    assert not proof.green and "edits report.js" in proof.gaps[0]


async def test_unittest_and_doctest_suites_run_under_pytest(project: Make) -> None:
    add = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n    return a + b\n'
    test = "import unittest\n\nfrom calc import add\n\n\nclass Adds(unittest.TestCase):\n"
    base = {
        "calc.py": add,
        "tests.py": test + "    def test_add(self):\n        self.assertEqual(add(1, 0), 1)\n",
        "Makefile": "test:\n\tpython -m unittest && python -m doctest calc.py\n",
    }
    proof = await project(base).prove({"calc.py": add.replace("a + b", "a * b")})
    assert set(fates(proof).values()) == {("passed", "failed")} and len(proof.cases) == 2


async def test_a_whole_run_of_a_javascript_project_is_verified(
    tmp_path: Path, desk: Desk, home: Path
) -> None:
    repo = GitRepo(tmp_path / "shop")
    repo.commit({**CALC, ".autocode.toml": '[test]\nmutants = "off"\n'})
    script(
        desk,
        planner=PLAN.replace("calc.py", "calc.js"),
        coder=block("calc.js", DOUBLE["calc.js"].strip()),
        tester=block("test/double.test.js", DOUBLE["test/double.test.js"].strip()),
    )
    run = await Bench(desk, home, repo).run()
    assert run.end.status == "verified" and run.proof.fail_to_pass == [NEW]
    assert run.summary.figures.startswith("3 of 3 test cases pass; 1 of them is new")
    (prompt,) = desk.prompts("You are the tester")
    assert "npm test (with node --test)" in prompt and "test/calc.test.js" in prompt
    assert "pytest" not in prompt and "sh -c" not in prompt


MOCHA = """\
const fs = require('node:fs')
const words = process.argv.slice(2)
const output = words.find((word) => word.startsWith('output=')).slice(7)
const named = words.filter((word) => word.endsWith('.js'))
const files = named.length ? named : fs.readdirSync('test').map((name) => 'test/' + name)
const tests = []
let file
global.it = (title, run) => tests.push({ title, fullTitle: title, file, run })
for (const each of files) require((file = process.cwd() + '/' + each))
const failures = []
for (const test of tests) {
  try { test.run(); test.err = {} } catch (error) { test.err = { stack: error.stack }; failures.push(test) }
}
fs.writeFileSync(output, JSON.stringify({ stats: {}, tests, failures, pending: [] }))
process.exitCode = failures.length
"""
"""A small copy of mocha: one file that does not load keeps all from running, and there is no report."""


async def test_new_tests_that_do_not_load_on_the_base_run_file_by_file(project: Make) -> None:
    test = "const assert = require('node:assert')\nconst { add } = require('../calc')\n"
    base = {
        "package.json": json.dumps({"scripts": {"test": "node node_modules/mocha/bin/mocha.js"}}),
        "node_modules/mocha/bin/mocha.js": MOCHA,
        "calc.js": CALC["calc.js"],
        "test/calc.js": test + "it('adds', () => assert.equal(add(1, 2), 3))\n",
        ".autocode.toml": '[test]\nmutants = "on"\n',
    }
    change = {
        "double.js": "exports.double = (a) => 2 * a\n",
        "calc.js": base["calc.js"].replace("return a + b", "return Number(a) + Number(b)"),
        "test/double.js": "const { double } = require('../double')\n"
        "it('doubles', () => require('node:assert').equal(double(4), 8))\n",
        "test/idle.js": "it('is idle', () => {})\n",
        "test/words.js": test + "it('adds words', () => assert.equal(add('1', '2'), 3))\n",
    }
    here = project(base)
    proof = await here.prove(change)
    assert proof.fail_to_pass == ["test/double.js::doubles", "test/words.js::adds words"]
    assert proof.vacuous == ["test/idle.js::is idle"] and proof.proves
    assert proof.strength and (proof.strength.killed, proof.strength.tried) == (1, 1)
    moved = base["test/calc.js"].replace("../calc", "../sum")
    proof = await here.prove({"calc.js": None, "sum.js": CALC["calc.js"], "test/calc.js": moved})
    assert proof.green and proof.contradicted == ["test/calc.js::adds"]
