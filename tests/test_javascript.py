"""The command lines of JavaScript's runners."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from projects import Recognise, npm

from nodes.check.runners.globs import matches
from nodes.check.runners.javascript import JsRunner
from nodes.check.runners.node_reporter import NODE_REPORTER
from nodes.check.runners.package_json import Package, split
from nodes.check.suites.suite import Suite
from sandbox.base import REPORT

START = 'export CI=true NO_COLOR=1 PATH="$PWD/node_modules/.bin:$PATH"; '


def line(suite: Suite) -> str:
    """The shell's command line without what every runner gets."""
    (shell, flag, text) = suite.whole()
    assert (shell, flag) == ("sh", "-c") and text.startswith(START)
    runner = suite.runner
    assert isinstance(runner, JsRunner)
    for word in runner.tool.added:
        for written in (f"'{word}'", word):
            text = text.replace(f" {written}", "", 1)
    return text.removeprefix(START)


@pytest.mark.parametrize(
    ("script", "started"),
    [
        ("vitest", "vitest run"),
        ("vitest run --coverage", "vitest run"),
        ("vitest --watch -u --reporter verbose -t 'a b' src", "vitest run -t 'a b' src"),
        ("tsc --noEmit && vitest run", "tsc --noEmit && vitest run"),
        ("vitest run && tsc -p 'a b'", "vitest run && tsc -p 'a b'"),
        ("jest --config x.js --bail --updateSnapshot", "jest --config x.js"),
        ("cross-env NODE_ENV=test jest", "NODE_ENV=test jest"),
        ("NODE_ENV=test npx --no-install jest -w 2", "NODE_ENV=test jest -w 2"),
        (
            "node --experimental-vm-modules node_modules/jest/bin/jest.js -i",
            "node --experimental-vm-modules node_modules/jest/bin/jest.js -i",
        ),
        ("react-scripts test --watch", "react-scripts test"),
        ("nyc --reporter=lcov mocha -R spec 'test/**/*.js'", "mocha 'test/**/*.js'"),
        ("c8 -r text node --test", "node --test"),
        ("node --import tsx --test --test-reporter spec test/", "node --import tsx --test test/"),
        ("yarn jest", "jest"),
        ("pnpm exec vitest", "vitest run"),
        ("./node_modules/.bin/mocha --exit", "./node_modules/.bin/mocha --exit"),
    ],
)
def test_a_known_runner_in_the_test_script_is_started_with_a_report(
    suite_of: Recognise, script: str, started: str
) -> None:
    suite = suite_of(npm(script))
    assert (suite.command, suite.grade) == (("npm", "test"), "tests")
    assert line(suite) == started
    assert suite.whole()[2].count(REPORT) == 1


def test_scripts_that_run_scripts_are_followed(suite_of: Recognise) -> None:
    more = {
        "pretest": "npm run build",
        "build": "mkdir -p dist; cp a dist || true",
        "unit": "jest",
        "posttest": "eslint .",
    }
    suite = suite_of(npm("CI=1 npm run -s unit -- --ci src", **more))
    assert line(suite) == "( mkdir -p dist; cp a dist || true ) && CI=1 jest src && eslint ."
    assert Package({"scripts": {"test": "npm test"}}).chain(("npm", "test")).reached == {"test"}


@pytest.mark.parametrize(
    "script",
    [
        "ava",
        "jest || true",
        "jest | tee log",
        "jest > log",
        "(jest)",
        "$(echo jest)",
        "jest && mocha",
        "node test.js",
        "vitest bench",
        "npm run missing",
        "jest 'unclosed",
        "grunt",
    ],
)
def test_a_script_that_is_no_known_runner_is_judged_by_its_exit_code(
    suite_of: Recognise, script: str
) -> None:
    suite = suite_of(npm(script))
    assert (suite.whole(), suite.grade, suite.runner) == (("npm", "test"), "exit code", None)


@pytest.mark.parametrize(
    ("path", "glob", "fits"),
    [
        ("test/a/b.js", "test/**/*.js", True),
        ("test/b.js", "./test/**/*.js", True),
        ("test/a/b.js", "test/*.js", False),
        ("a/b.spec.tsx", "**/?(*.)+(spec|test).[jt]s?(x)", True),
        ("b.test.js", "**/*.{test,spec}.?(c|m)[jt]s?(x)", True),
        ("b.test.js", "<rootDir>/b.test.js", True),
        ("b.js", "!(b).js", False),
        ("a" * 3_000, "*a" * 99, True),
        ("(", "(", True),
    ],
)
def test_globs_are_read_as_in_javascript(path: str, glob: str, fits: bool) -> None:
    assert matches(path, glob) is fits


def test_a_script_is_split_only_where_no_shell_is_needed() -> None:
    assert split("a 'b && c' \"d\" && e\\ f") == [("a", "'b && c'", '"d"'), ("e\\ f",)]
    assert [split(text) for text in ("", "a &&", "a & b", 'a "`b`"', "a 'b", 'a "$(b)"')] == [None] * 6


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_nodes_reporter_tells_files_titles_and_the_error_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.test.js").write_text(
        "const { test, describe, it } = require('node:test')\n"
        "test('outer', async (t) => { await t.test('inner', () => { throw new Error('no') }) })\n"
        "describe('group', () => { it('works', () => {}); it.skip('later', () => {}) })\n"
    )
    (tmp_path / "b.test.js").write_text("require('./gone')\n")
    (tmp_path / "c.test.js").write_text("require('node:assert').equal(1, 1)\n")
    out = tmp_path / "out"
    flags = [f"--test-reporter={NODE_REPORTER}", f"--test-reporter-destination={out}"]
    subprocess.run(["node", "--test", *flags], cwd=tmp_path, check=False)
    lines = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    assert [(Path(each["file"]).name, each["names"], each["outcome"]) for each in lines] == [
        ("a.test.js", ["outer", "inner"], "failed"),
        ("a.test.js", ["outer"], "failed"),
        ("a.test.js", ["group", "works"], "passed"),
        ("a.test.js", ["group", "later"], "skipped"),
        ("b.test.js", [], "error"),
        ("c.test.js", [], "passed"),
    ]
    assert "Error: no" in lines[0]["message"] and "Cannot find module './gone'" in lines[4]["message"]
