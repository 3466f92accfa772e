"""Reports of other runners than pytest: recorded ones, made-up ones and hostile ones."""

import json
import subprocess
from pathlib import Path

import pytest

from sandbox.base import REPORT, Case
from sandbox.collect import collect_files, is_pattern
from sandbox.json_report import relative
from sandbox.report import MAX_BYTES, read_report

RECORDED = Path(__file__).parent / "data" / "reports"
"""Written by the tools whose versions the names tell, with shorter texts, other times and folders."""


def cases(name: str) -> dict[str, tuple[str, str]]:
    """The outcome of each case of a recorded report, and the first line of its message."""
    read = read_report((RECORDED / name).read_bytes())
    assert read is not None
    return {case.id: (case.outcome, case.message.partition("\n")[0]) for case in read}


@pytest.mark.parametrize(
    ("name", "error", "broken"),
    [
        (
            "vitest-4.1.12.json",
            "AssertionError: expected 2 to be 3 // Object.is equality",
            "Cannot find module '../missing' imported from /workspace/test/broken.test.js",
        ),
        (
            "jest-30.5.2.json",
            "Error: expect(received).toBe(expected) // Object.is equality",
            "● Test suite failed to run",
        ),
        ("mocha-12.0.3.json", "AssertionError [ERR_ASSERTION]: 2 == 3", ""),
    ],
)
def test_the_cases_of_javascript_runners_are_named_by_file_and_titles(
    name: str, error: str, broken: str
) -> None:
    deep = "group deep > a::b > c" if "mocha" in name else "group > deep > a::b > c"
    unloaded = {"::test/broken.test.js": ("error", broken)} if broken else {}
    assert cases(name) == unloaded | {
        "test/calc.test.js::adds": ("passed", ""),
        "test/calc.test.js::group > inner": ("passed", ""),
        "test/calc.test.js::group > fails": ("failed", error),
        "test/calc.test.js::group > skipped": ("skipped", ""),
        f"test/calc.test.js::{deep}": ("passed", ""),
    }


def test_the_cases_of_go_are_named_by_package() -> None:
    read = cases("go-1.19.8.jsonl")
    assert {id: outcome for id, (outcome, _) in read.items()} == {
        "example.com/calc::TestAdd": "passed",
        "example.com/calc::TestTable/one": "passed",
        "example.com/calc::TestTable/two_words": "failed",
        "example.com/calc::TestTable": "failed",
        "example.com/calc::TestSkip": "skipped",
        "::example.com/calc/bad": "error",
    }


def test_a_build_that_fails_in_newer_go_has_its_output() -> None:
    lines: list[dict[str, object]] = [
        {"ImportPath": "m/bad [m/bad.test]", "Action": "build-output", "Output": "# m/bad [m/bad.test]\n"},
        {"ImportPath": "m/bad [m/bad.test]", "Action": "build-output", "Output": "undefined: Missing\n"},
        {"ImportPath": "m/bad [m/bad.test]", "Action": "build-fail"},
        {"Action": "start", "Package": "m/bad"},
        {"Action": "output", "Package": "m/bad", "Output": "FAIL\tm/bad [build failed]\n"},
        {"Action": "fail", "Package": "m/bad", "Elapsed": 0, "FailedBuild": "m/bad [m/bad.test]"},
    ]
    (case,) = read_report("\n".join(map(json.dumps, lines)).encode()) or ()
    assert (case.id, case.outcome) == ("::m/bad", "error") and "undefined: Missing" in case.message


def test_a_package_that_stops_without_a_failing_test_is_an_error() -> None:
    lines = '{"Action":"output","Package":"m","Output":"exit status 3\\n"}\n{"Action":"fail","Package":"m"}\n'
    assert read_report(lines.encode()) == (Case("::m", "error", "exit status 3", 0.0),)


JUNIT = """<testsuites><testsuite name="Shop">
<testcase classname="com.acme.CartTest" name="adds" time="0.5"/>
<testcase name="no class"><failure message="no">at /workspace/x</failure></testcase>
<testcase file="/workspace/spec/cart_spec.rb" classname="spec.cart_spec" name="totals"/>
<testcase file="tests/CartTest.php" classname="Tests.CartTest" name="totals"><skipped/></testcase>
<testcase file="/etc/passwd" classname="a" name="/workspace/b"/>
</testsuite></testsuites>"""


def gather(folder: Path, *patterns: str, command: str = "true") -> tuple[int, bytes]:
    """Run a command in a folder as a sandbox does. Return its exit code and the report."""
    report = folder.parent / "report"
    words = [word.replace(REPORT, str(report)) for word in collect_files(["sh", "-c", command], patterns)]
    code = subprocess.run(words, cwd=folder, check=False).returncode
    return code, report.read_bytes()


def test_junit_files_are_gathered_whatever_the_exit_code(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "target/reports/deep").mkdir(parents=True)
    (folder / "made").write_text(JUNIT)
    more = JUNIT.replace("CartTest", "OtherTest")
    (folder / "more").write_text(more)
    (folder / "target/reports/stale.xml").write_text(JUNIT.replace("adds", "forged"))
    (folder / "target/reports/link.xml").symlink_to("../../made")
    command = "cp made target/reports/'a b.xml' && cp more target/reports/deep/b.xml; exit 8"
    code, data = gather(folder, "target/reports/*.xml", "**/b.xml", command=command)
    assert code == 8
    assert {case.id: case.outcome for case in read_report(data) or ()} == {
        "com.acme.CartTest::adds": "passed",
        "com.acme.OtherTest::adds": "passed",
        "Shop::no class": "failed",
        "spec/cart_spec.rb::totals": "passed",
        "tests/CartTest.php::Tests.CartTest > totals": "skipped",
        "tests/OtherTest.php::Tests.OtherTest > totals": "skipped",
        "a::b": "passed",
    }
    assert read_report(data[:-1]) is None
    assert read_report(gather(folder, "none/*.xml")[1]) == ()
    code, data = gather(folder, "made", command="echo '<nonsense/>' > made")
    assert read_report(data) is None


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("target/*.xml", True), ("./a", True), ("", False), ("/a", False), ("a/../../b", False), ("a|b", False)],
)
def test_patterns_stay_in_the_workspace(pattern: str, fits: bool) -> None:
    assert is_pattern(pattern) is fits


LINE = '{"file": "/workspace/a.js", "names": ["x"], "outcome": "passed", "message": "", "seconds": %s}'


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"testResults": [1]}',
        b'{"testResults": [{"name": "/etc/passwd", "assertionResults": [], "status": "failed"}]}',
        b'{"testResults": ' + b"[" * 100_000,
        b'{"testResults": [' + b"[]," * 2_100_000 + b"[]]}",
        b'{"names":1}\n' + b'{"a":' * 100_000,
        b'{"stats": {}, "tests": [{}], "failures": [], "pending": []}',
        (LINE % 0).replace("/workspace/a.js", "../a.js").encode(),
        (LINE % 0).replace('"passed"', '"great"').encode(),
        (LINE % 0).replace('["x"]', '"x"').encode(),
        b'{"Action": "output"}\n{',
        b'{"Action": []}',
        b" " * (MAX_BYTES + 1),
    ],
    ids=lambda data: data[:40],
)
def test_what_is_no_report_is_not_read(data: bytes) -> None:
    assert read_report(data) in (None, ())


def test_numbers_names_and_texts_are_made_safe() -> None:
    line = LINE.replace('"x"', r'"\ud800\u0000\n\u001b", "' + "y" * 5_000 + '"') % '"NaN"'
    (case,) = read_report(line.encode()) or ()
    assert case.seconds == 0.0 and len(case.id) < 2_100
    assert case.id.startswith("a.js::?  > yyy") and case.id.isprintable()
    for number in ("1e999", "-1", "NaN", "null", "[]", "1" * 4_000):
        assert [each.seconds for each in read_report((LINE % number).encode()) or ()] == [0.0]


def test_a_file_elsewhere_is_refused() -> None:
    assert relative("file:///workspace/a/b.js") == "a/b.js"
    with pytest.raises(ValueError, match="etc"):
        relative("/etc/passwd")
