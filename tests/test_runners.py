"""Test commands besides pytest, as a repository's files or its configuration name them."""

from pathlib import Path

import pytest
from projects import Recognise, npm

from nodes.check.base_tests.test_side import TestSide
from nodes.check.change import CheckedChange
from nodes.check.exit_code.definition import changed_definition
from nodes.check.runners.golang import GoRunner
from nodes.check.runners.javascript import TOOLS, JsRunner
from nodes.check.runners.junit import JUnitRunner
from nodes.check.suites.config import NoSuite
from sandbox.base import REPORT
from tools.workspace import Workspace


@pytest.mark.parametrize(
    ("files", "command", "title"),
    [
        ({**npm("jest"), "yarn.lock": ""}, ("yarn", "test"), "jest"),
        ({**npm("jest"), "pnpm-lock.yaml": ""}, ("pnpm", "test"), "jest"),
        ({"package.json": '{"devDependencies": {"mocha": "1"}}'}, ("npx", "--no-install", "mocha"), "mocha"),
        ({"package.json": "{}", "index.js": ""}, ("node", "--test"), "node --test"),
        (npm('echo "Error: no test specified" && exit 1'), ("node", "--test"), "node --test"),
        ({"go.mod": "module m\n", "main.go": ""}, ("go", "test", "./..."), "go test"),
        ({"pom.xml": "", "A.java": ""}, ("mvn", "--batch-mode", "test"), "mvn"),
        ({"build.gradle": "", "gradlew": "", "A.java": ""}, ("sh", "./gradlew", "test"), "sh"),
        ({"Cargo.toml": "", "src/main.rs": "", "tools/gen.py": ""}, ("cargo", "test"), "cargo test"),
        ({"Gemfile": "", "spec/a_spec.rb": ""}, ("bundle", "exec", "rspec"), "bundle exec rspec"),
        ({"composer.json": "{}", "a.php": ""}, ("vendor/bin/phpunit",), "vendor/bin/phpunit"),
        ({"main.c": "", "Makefile": "test:\n\ttrue\n"}, ("make", "test"), "make test"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_usual_command_of_a_project_is_used(
    suite_of: Recognise, files: dict[str, str], command: tuple[str, ...], title: str
) -> None:
    suite = suite_of(files)
    assert (suite.command, suite.title) == (command, title)
    assert suite.grade == ("tests" if suite.runner else "exit code")


@pytest.mark.parametrize(
    "files", [{"tests/test_it.py": ""}, {"pyproject.toml": ""}, {"pytest.ini": ""}, {"conftest.py": ""}]
)
def test_python_goes_before_a_test_script(suite_of: Recognise, files: dict[str, str]) -> None:
    assert suite_of({**npm("jest"), **files}).is_pytest


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("npm test", JsRunner),
        ("npm run check", JsRunner),
        ("A=1 npx vitest run", JsRunner),
        ("node --test", JsRunner),
        ("go test -race ./...", GoRunner),
        ("env A=1 go test", GoRunner),
        ("go vet", type(None)),
        ("npm run lint", type(None)),
        ("cargo nextest run", type(None)),
    ],
)
def test_named_commands_of_known_runners_are_judged_by_their_cases(
    suite_of: Recognise, command: str, kind: type
) -> None:
    files = npm("jest", check="mocha", lint="eslint .") | {"go.mod": "module m\n"}
    suite = suite_of(files | {".autocode.toml": f'[test]\ncommand = "{command}"\n'})
    assert isinstance(suite.runner, kind) and suite.grade == ("tests" if suite.runner else "exit code")


def test_a_named_report_is_gathered_after_the_command(suite_of: Recognise) -> None:
    told = '[test]\ncommand = "make check"\nreport = ["out/*.xml", "more.xml"]\n'
    suite = suite_of({".autocode.toml": told})
    assert isinstance(suite.runner, JUnitRunner) and suite.grade == "tests"
    command = suite.whole()
    assert command[:2] == ("sh", "-c") and command[4:] == (
        REPORT,
        "./out|./out/*.xml\n.|./more.xml",
        "make",
        "check",
    )
    assert suite.only(["tests/a.sh"]) == command


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('report = "a.xml"', "needs test.command"),
        ('command = "make"\nreport = "../a.xml"', "below the repository's root"),
        ('command = "make"\nreport = "/tmp/a.xml"', "below the repository's root"),
        ('command = "make"\nreport = 3', "test.report"),
        ('command = "npx jest"\nscope = "affected"', "pytest alone"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(suite_of: Recognise, text: str, words: str) -> None:
    with pytest.raises(NoSuite) as raised:
        suite_of({".autocode.toml": f"[test]\n{text}\n"})
    assert words in str(raised.value)


def test_single_files_take_the_place_of_the_paths(suite_of: Recognise) -> None:
    jest = suite_of(npm("jest --config x.js src"))
    assert jest.only(["a b.test.js"])[2].endswith(
        "--passWithNoTests --config x.js --runTestsByPath 'a b.test.js'"
    )
    vitest = suite_of(npm("vitest src"))
    assert vitest.only(["src/a.test.ts"])[2].endswith("--passWithNoTests src/a.test.ts")
    mocha = suite_of(npm("mocha -r ./setup.js 'spec/**/*.js'"))
    assert mocha.only(["spec/a.js"])[2].endswith(" -r ./setup.js spec/a.js")
    assert mocha.whole(["spec/deep/a.js", "b.test.js"])[2].endswith("'spec/**/*.js' b.test.js")
    assert suite_of(npm("mocha")).whole(["b.test.js"])[2].endswith("--no-bail")
    go = suite_of({"go.mod": "module m\n", "a.go": ""})
    assert go.only(["a_test.go", "sub/b_test.go", "sub/c_test.go"])[5:] == (
        "go",
        "test",
        "-json",
        ".",
        "./sub",
    )


@pytest.mark.parametrize(
    ("files", "tests", "others"),
    [
        (npm("vitest"), ["a.test.ts", "src/b.spec.jsx"], ["test/a.ts", "a.ts", "node_modules/a.test.js"]),
        (npm("jest"), ["__tests__/a.ts", "b.spec.mjs"], ["test/a.ts", "a.test.d.ts", "__tests__/a.json"]),
        (npm("mocha"), ["test/a.js", "test/deep/b.ts", "a.spec.js"], ["lib/a.js", "latest.js"]),
        (npm("mocha 'specs/*.js'"), ["specs/a.js"], ["specs/deep/a.js", "src/a.js"]),
        (npm("node --test"), ["test/a.js", "test.mjs", "a-test.cjs", "test-a.js"], ["tests/a.js", "a.js"]),
        (npm("node --test tests/*.js"), ["tests/a.js"], ["src/a.js"]),
        (
            npm("vitest")
            | {"vitest.config.ts": "test: { include: ['tests/**/*.ts'], coverage: { include: ['src/**'] }}"},
            ["tests/a/b.ts"],
            ["src/a.ts"],
        ),
        ({"go.mod": "module m\n", "a.go": ""}, ["a_test.go"], ["a.go", "testdata/a.txt"]),
        (
            {"pom.xml": "", "a.java": ""},
            ["src/test/java/m/CartTest.java", "src/test/java/m/Helper.java"],
            ["src/main/java/m/Cart.java"],
        ),
    ],
    ids=lambda value: "",
)
def test_tests_are_known_by_the_patterns_of_the_runner(
    suite_of: Recognise, files: dict[str, str], tests: list[str], others: list[str]
) -> None:
    suite = suite_of(files)
    assert [path for path in (*tests, *others) if suite.is_test(path)] == tests


def test_the_test_side_holds_snapshots_helpers_and_loaded_files(suite_of: Recognise) -> None:
    files = npm("vitest") | {
        "vite.config.ts": "export default { test: { setupFiles: ['./src/setup.ts', './src/gone'] } }",
        "src/setup.ts": "",
    }
    suite = suite_of(files)
    side = TestSide(suite, files)
    inside = ["src/setup.ts", "src/__snapshots__/a.snap", "__mocks__/fs.js", "tests/helper.ts", "a.test.ts"]
    assert [path for path in (*inside, "src/a.ts", "vite.config.ts") if path in side] == inside
    assert (
        suite.runner and suite.runner.defines("vite.config.ts") and not suite.runner.defines("src/setup.ts")
    )
    assert suite.runner.defines("node_modules/vitest/index.js")


def test_the_cases_of_a_file_are_known() -> None:
    go = GoRunner("example.com/m")
    assert go.is_case_of("example.com/m::TestA/b", "a_test.go")
    assert go.is_case_of("::example.com/m/sub", "sub/a_test.go")
    assert not go.is_case_of("example.com/m/sub::TestA", "a_test.go")
    js = JsRunner(TOOLS["jest"], ("jest",), (), folder="packages/a")
    assert js.is_case_of("packages/a/x.test.js::a > b::c", "x.test.js")
    assert js.is_case_of("::packages/a/x.test.js", "x.test.js")
    assert not js.is_case_of("packages/b/x.test.js::a", "x.test.js")
    junit = JUnitRunner(("mvn", "test"), ("*.xml",))
    assert junit.is_case_of("com.acme.CartTest::adds", "src/test/java/com/acme/CartTest.java")
    assert junit.is_case_of("com.acme.CartTest$Inner::adds", "src/test/java/com/acme/CartTest.java")
    assert junit.is_case_of("spec/a_spec.rb::adds", "spec/a_spec.rb")
    assert not junit.is_case_of("com.acme.CartTest::adds", "src/test/java/com/acme/OtherTest.java")


VITE = {**npm("tsc && vitest", build="vite build"), "vite.config.ts": "1\n", "src/a.ts": "1\n"}


@pytest.mark.parametrize(
    ("change", "defined"),
    [
        ({"vite.config.ts": "2\n"}, ["vite.config.ts"]),
        ({"vitest.config.ts": "2\n"}, ["vitest.config.ts"]),
        ({"packages/a/vitest.workspace.ts": "2\n"}, ["packages/a/vitest.workspace.ts"]),
        ({"node_modules/vitest/index.js": "2\n"}, ["node_modules/vitest/index.js"]),
        ({".npmrc": "2\n"}, [".npmrc"]),
        (npm("tsc && vitest -t one", build="vite build"), ["package.json"]),
        (npm("tsc && vitest", pretest="true", build="vite build"), ["package.json"]),
        (npm("tsc && vitest", build="tsc"), []),
        ({"package.json": VITE["package.json"].replace("{", '{"vitest": {}, ', 1)}, ["package.json"]),
        ({"package.json": None}, ["package.json"]),
        ({"src/a.ts": "2\n", "src/a.test.ts": "2\n"}, []),
    ],
    ids=lambda value: "",
)
def test_what_says_which_tests_run_is_known(
    tmp_path: Path, change: dict[str, str | None], defined: list[str]
) -> None:
    workspace = Workspace.init(tmp_path)
    base = workspace.write(workspace.begin().snapshot, VITE, "base")
    checked = CheckedChange.read(tmp_path, base, workspace.write(base, change, "change"))
    assert (
        changed_definition(workspace, checked.suite, checked.base, checked.head, checked.changed) == defined
    )
    assert {place.file for place in checked.suspicious} >= {path for path in defined if path in change}


def test_a_file_that_the_runner_loads_first_is_suspicious(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path)
    base = npm("mocha -r ./lib/hooks") | {"lib/hooks.js": "1\n"}
    before = workspace.write(workspace.begin().snapshot, base, "base")
    after = workspace.write(before, {"lib/hooks.js": "2\n", "vitest.setup.ts": "", "a.js": ""}, "change")
    checked = CheckedChange.read(tmp_path, before, after)
    assert {place.file for place in checked.suspicious} == {"lib/hooks.js", "vitest.setup.ts"}
    assert checked.head_with_old_tests
    assert workspace.text(checked.head_with_old_tests, "lib/hooks.js") == "1\n"
