"""JUnit reports, honest and hostile."""

import pytest

from sandbox.base import REPORT, Case
from sandbox.report import MAX_BYTES, place_report, read_report

HONEST = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest">
<testcase classname="tests.test_a" name="test_ok" time="0.25" />
<testcase classname="tests.test_a" name="test_bad[1-&lt;]" time="0.5">
  <failure message="assert 1 == 2">def test_bad():
&gt;   assert 1 == 2</failure></testcase>
<testcase classname="tests.test_a" name="test_broken" time="0.1"><error message="failed">trace</error>
</testcase>
<testcase classname="tests.test_a" name="test_later"><skipped message="not today" /></testcase>
</testsuite></testsuites>"""


def test_every_case_comes_with_outcome_message_and_seconds() -> None:
    assert read_report(HONEST) == (
        Case("tests.test_a::test_ok", "passed", "", 0.25),
        Case("tests.test_a::test_bad[1-<]", "failed", "def test_bad():\n>   assert 1 == 2", 0.5),
        Case("tests.test_a::test_broken", "error", "trace", 0.1),
        Case("tests.test_a::test_later", "skipped", "not today", 0.0),
    )


def test_a_case_that_comes_twice_counts_once_at_its_worst() -> None:
    failed = '<testcase classname="a" name="b"><failure message="no"/></testcase>'
    passed = '<testcase classname="a" name="b"/>'
    for order in (failed + passed, passed + failed):
        cases = read_report(f"<testsuite>{order}</testsuite>".encode())
        assert cases == (Case("a::b", "failed", "no", 0.0),)


def test_seconds_that_are_no_number_read_as_zero() -> None:
    for text in ("nan", "inf", "-3", "soon", ""):
        cases = read_report(f'<testsuite><testcase name="a" time="{text}"/></testsuite>'.encode())
        assert cases == (Case("::a", "passed", "", 0.0),)


def test_a_suite_without_cases_is_a_report_without_cases() -> None:
    assert read_report(b"<testsuites/>") == ()


BOMB = b'<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa">%s]><testsuite><testcase name="&i;"/></testsuite>' % b"".join(
    b'<!ENTITY %c "%s">' % (letter, b"&%c;" % (letter - 1) * 10) for letter in b"bcdefghi"
)
OUTSIDE = (
    b'<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&x;"/></testsuite>'
)


@pytest.mark.parametrize(
    "xml",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html/>", id="another document"),
        pytest.param(HONEST[:-20], id="cut short"),
        pytest.param(b"\xff\xfe\x00garbage", id="garbage"),
        pytest.param(b'<?xml version="1.0" encoding="nonsense"?><testsuite/>', id="unknown encoding"),
        pytest.param(BOMB, id="entity bomb"),
        pytest.param(OUTSIDE, id="outside entity"),
        pytest.param(b"<testsuite>" + b"<a/>" * (MAX_BYTES // 4 - 10) + b"</testsuite>", id="many elements"),
        pytest.param(b"<testsuite>" + b"<a>" * (MAX_BYTES // 3 - 10), id="deep nesting"),
        pytest.param(b"<testsuite>" + b" " * MAX_BYTES + b"</testsuite>", id="too large"),
    ],
)
def test_what_is_no_honest_report_reads_as_none(xml: bytes) -> None:
    assert read_report(xml) is None


def test_the_report_lies_where_no_program_can_guess() -> None:
    command = ["pytest", f"--junitxml={REPORT}", "-q"]
    first, path = place_report(command)
    second, other = place_report(command)
    assert first == ["pytest", f"--junitxml={path}", "-q"]
    assert path != other and second != first
    assert len(path) > 30


def test_a_command_without_report_stays_as_it_is() -> None:
    assert place_report(["make", "check"]) == (["make", "check"], "")
