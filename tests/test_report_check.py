import re
from collections.abc import Mapping

import pytest

from nodes.check.outcomes import Outcomes
from nodes.check.report_check import ListingError, junit_id, parse_listing, report_fault
from sandbox.base import ReportOutcome, Result

LISTING = "tests/test_a.py::test_one\ntests/test_a.py::test_two\n\n2 tests collected in 0.01s\n"


def ended(stdout: str, exit_code: int = 0, timed_out: bool = False, truncated: bool = False) -> Result:
    return Result(exit_code, stdout, "", seconds=0.1, timed_out=timed_out, truncated=truncated)


@pytest.mark.parametrize(
    ("node", "case"),
    [
        ("test_a.py::test_x", "test_a::test_x"),
        ("tests/deep/test_a.py::TestB::TestC::test_d", "tests.deep.test_a.TestB.TestC::test_d"),
        ("test_a.py::test_x[a::b]", "test_a::test_x[a::b]"),
        ("test_a.py::test_x[a/b.py]", "test_a::test_x[a/b.py]"),
        ("test_a.py::test_x[x[1]]", "test_a::test_x[x[1]]"),
        ("test_a.py::test_x[ ]", "test_a::test_x[ ]"),
        ("test_a.py::test_x[\x01\x7f]", "test_a::test_x[#x01#x7F]"),
        ("test_a.py::test_ü[\U0001f600]", "test_a::test_ü[\U0001f600]"),
        ("docs/it.md::it.md", "docs.it.md::it.md"),
        ("tests/test_a.py", "::tests.test_a"),
    ],
)
def test_node_ids_become_the_ids_of_the_report(node: str, case: str) -> None:
    assert junit_id(node) == case


def test_a_listing_is_read_with_what_comes_around_it() -> None:
    expected = {f"tests.test_a::{name}": f"tests/test_a.py::{name}" for name in ("test_one", "test_two")}
    assert parse_listing(ended(LISTING)) == expected
    assert (
        parse_listing(ended("a banner\n\nof a plugin\n\nwith a.py::line\n" + LISTING + "\nby\n")) == expected
    )
    errors = "\n==== ERRORS ====\n__ ERROR collecting test_b.py __\n3 tests collected\n\nERROR test_b.py\n"
    counted = errors + "2/5 tests collected (3 deselected), 1 error in 0.1s"
    assert (
        parse_listing(ended(LISTING.replace("\n2 tests collected in 0.01s", counted), exit_code=1))
        == expected
    )
    assert parse_listing(ended("\nno tests collected in 0.00s\n", exit_code=5)) == {}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ended(LISTING, timed_out=True), "timed out"),
        (ended(LISTING, exit_code=4), "exit code 4"),
        (ended(LISTING, truncated=True), "exit code 0"),
        (ended(""), "without their count"),
        (ended("tests/test_a.py::test_one\n"), "without their count"),
        (ended(LISTING.replace("2 tests", "3 tests")), "does not hold the 3"),
        (ended("tests/test_a.py: 2\n\n2 tests collected in 0.01s\n"), "does not hold the 2"),
    ],
)
def test_a_listing_that_ended_early_is_refused(result: Result, words: str) -> None:
    with pytest.raises(ListingError, match=re.escape(words)):
        parse_listing(result)


@pytest.mark.parametrize(
    ("exit_code", "cases", "words"),
    [
        (0, None, "left no report"),
        (0, {"test_one": "passed", "test_two": "failed"}, "holds failures: tests.test_a::test_two"),
        (0, {"test_one": "error", "test_two": "passed"}, "holds failures: tests.test_a::test_one"),
        (1, {"test_one": "passed", "test_two": "skipped"}, "holds no failure"),
        (1, {"test_two": "failed"}, "lacks cases that were collected: tests.test_a::test_one"),
        (1, {}, "holds no failure"),
        (0, {"test_one": "passed"}, "lacks cases that were collected: tests.test_a::test_two"),
        (
            0,
            {"test_one": "passed", "test_two": "passed", "test_x": "passed"},
            "not collected: tests.test_a::test_x",
        ),
    ],
)
def test_a_report_that_disagrees_is_not_trusted(
    exit_code: int, cases: Mapping[str, ReportOutcome] | None, words: str
) -> None:
    found = None if cases is None else {f"tests.test_a::{name}": outcome for name, outcome in cases.items()}
    assert words in report_fault(Outcomes(exit_code=exit_code, cases=found), ended(LISTING))


def test_an_honest_report_is_trusted() -> None:
    cases: dict[str, ReportOutcome] = {
        "tests.test_a::test_one": "passed",
        "tests.test_a::test_two": "skipped",
    }
    assert report_fault(Outcomes(exit_code=0, cases=cases), ended(LISTING)) == ""
    cases |= {"::tests.test_b": "error", "::tests.test_c": "skipped"}
    assert report_fault(Outcomes(exit_code=1, cases=cases), ended(LISTING, exit_code=1)) == ""
