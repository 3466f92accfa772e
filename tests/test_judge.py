import pytest

from nodes.check.judge import Evidence, judge
from nodes.check.outcomes import Outcomes
from nodes.check.output_text import CASE_CHARACTERS, TOTAL_CHARACTERS
from nodes.proof import CaseOutcome
from sandbox.base import Case, Limits, ReportOutcome, Result

Cases = dict[str, tuple[ReportOutcome, str]]

NONE = Result(exit_code=0, stdout="", stderr="", seconds=0.0)


def ran(exit_code: int, cases: Cases) -> Result:
    report = tuple(Case(case, outcome, text, 0.0) for case, (outcome, text) in cases.items())
    return Result(exit_code, "", "", seconds=0.0, report=report)


def collected(cases: Cases) -> Result:
    nodes = "\n".join(case.replace("::", ".py::") for case in cases)
    return Result(0, f"{nodes}\n\n{len(cases)} tests collected in 0.01s\n", "", seconds=0.0)


def test_many_failures_are_counted_and_some_are_shown() -> None:
    text = "E   assert 0x7f0011223344\n" * 400
    cases: Cases = {f"test_a::test_{at:04}": ("failed", text) for at in range(1_000)}
    evidence = Evidence(base=Outcomes(exit_code=5, cases={}), head=ran(1, cases), listing=collected(cases))
    judgement = judge(evidence, Limits())
    assert len(judgement.cases) == 1_000
    assert judgement.problems[0].startswith("1000 cases failed: test_a::test_0000, ")
    assert judgement.problems[0].endswith("test_a::test_0009 and 990 more")
    sizes = [len(failure.text) for failure in judgement.failures]
    assert max(sizes) <= CASE_CHARACTERS + 100 and sum(sizes) <= TOTAL_CHARACTERS + 500
    assert "0x7f" not in judgement.failures[0].text


def test_each_way_of_not_ending_is_said_in_words() -> None:
    base = Outcomes(exit_code=0, cases={"test_a::test_b": "passed"})
    ends = {
        "timed out after 30 s; last output: busy": Result(137, "busy", "", 30.0, timed_out=True),
        "ran out of memory (512 MB)": Result(137, "", "", 3.0, out_of_memory=True),
        "killed by signal 11": Result(139, "", "", 3.0),
        "pytest ended with exit code 2; last output: stopped": Result(2, "stopped", "", 3.0, report=()),
        "pytest ended with exit code 4; last output: no such option": Result(4, "", "no such option", 3.0),
        "no test was collected": Result(5, "", "", 3.0, report=()),
        "report not trusted: pytest ended with exit code 0 and left no report": NONE,
    }
    for words, head in ends.items():
        judgement = judge(Evidence(base=base, head=head, listing=NONE), Limits())
        assert judgement.problems == [words]
        assert [case.head for case in judgement.cases] == ["unknown"]
        assert [failure.id for failure in judgement.failures] == ["pytest"]


def test_a_case_that_failed_without_a_known_base_counts_against_the_change() -> None:
    cases: Cases = {"test_a::test_b": ("failed", "E"), "test_a::test_c": ("passed", "")}
    base = Outcomes(exit_code=137, stopped="timed out")
    judgement = judge(Evidence(base=base, head=ran(1, cases), listing=collected(cases)), Limits())
    assert judgement.problems == ["1 case failed: test_a::test_b"]
    assert [case.base for case in judgement.cases] == ["unknown", "unknown"]


OLD = "test_old::test_it"
NEW = "test_new::test_it"


@pytest.mark.parametrize(
    ("base", "head", "problem"),
    [
        ("passed", "passed", ""),
        ("passed", "failed", "1 case failed that passed on the base"),
        ("passed", "error", "1 case failed that passed on the base"),
        ("passed", "skipped", "1 case passed on the base and got skipped"),
        ("passed", None, "1 case passed on the base and vanished"),
        ("failed", "failed", ""),
        ("failed", "passed", ""),
        ("error", "failed", ""),
        ("skipped", "failed", "1 case failed"),
        ("skipped", "skipped", ""),
        (None, "failed", "1 case failed"),
        (None, "passed", ""),
    ],
)
def test_a_case_counts_against_the_change_unless_the_base_failed_it_too(
    base: ReportOutcome | None, head: ReportOutcome | None, problem: str
) -> None:
    other = "test_old::test_other"
    before: dict[str, ReportOutcome] = {other: "passed"}
    after: Cases = {other: ("passed", "")}
    if base:
        before[OLD] = base
    if head:
        after[OLD] = (head, "")
    bad = head in ("failed", "error")
    evidence = Evidence(
        base=Outcomes(exit_code=0, cases=before), head=ran(int(bad), after), listing=collected(after)
    )
    judgement = judge(evidence, Limits())
    assert judgement.problems == ([f"{problem}: {OLD}"] if problem else [])
    assert [failure.id for failure in judgement.failures] == ([OLD] if problem and bad else [])


@pytest.mark.parametrize(
    ("on_base", "before", "vacuous", "proves"),
    [
        (Outcomes(exit_code=1, cases={NEW: "failed"}), "failed", False, True),
        (Outcomes(exit_code=1, cases={NEW: "error"}), "error", False, True),
        (Outcomes(exit_code=0, cases={NEW: "passed"}), "passed", True, False),
        (Outcomes(exit_code=0, cases={NEW: "skipped"}), "skipped", False, False),
        (Outcomes(exit_code=1, cases={"::test_new": "error"}), "error", False, True),
        (Outcomes(exit_code=5, cases={}), "absent", False, False),
        (Outcomes(exit_code=4), "error", False, True),
        (Outcomes(exit_code=2, cases={}), "error", False, True),
        (Outcomes(exit_code=137, stopped="timed out"), "unknown", False, False),
        (None, "unknown", False, False),
    ],
)
def test_a_new_case_proves_something_only_if_it_fails_on_the_base(
    on_base: Outcomes | None, before: CaseOutcome, vacuous: bool, proves: bool
) -> None:
    after: Cases = {OLD: ("passed", ""), NEW: ("passed", "")}
    evidence = Evidence(
        base=Outcomes(exit_code=0, cases={OLD: "passed"}),
        head=ran(0, after),
        listing=collected(after),
        new_on_base=on_base,
        new_tests=frozenset({"test_new.py"}),
        added=frozenset({"test_new.py"}),
    )
    judgement = judge(evidence, Limits())
    (case,) = [case for case in judgement.cases if case.new]
    assert (case.id, case.base, case.fail_to_pass) == (NEW, before, proves)
    assert judgement.vacuous == ([NEW] if vacuous else []) and judgement.problems == []


@pytest.mark.parametrize(
    ("base", "old", "contradicted"),
    [
        (Outcomes(exit_code=0, cases={OLD: "passed"}), Outcomes(exit_code=1, cases={OLD: "failed"}), [OLD]),
        (Outcomes(exit_code=0, cases={OLD: "passed"}), Outcomes(exit_code=0, cases={OLD: "passed"}), []),
        (Outcomes(exit_code=1, cases={OLD: "failed"}), Outcomes(exit_code=1, cases={OLD: "failed"}), []),
        (Outcomes(exit_code=0, cases={OLD: "passed"}), Outcomes(exit_code=4), []),
        (Outcomes(exit_code=137, stopped="killed"), Outcomes(exit_code=1, cases={OLD: "failed"}), []),
        (Outcomes(exit_code=0, cases={OLD: "passed"}), None, []),
    ],
)
def test_an_edited_test_whose_old_text_fails_is_shown(
    base: Outcomes, old: Outcomes | None, contradicted: list[str]
) -> None:
    after: Cases = {OLD: ("passed", "")}
    evidence = Evidence(base=base, head=ran(0, after), listing=collected(after), old_on_head=old)
    assert judge(evidence, Limits()).contradicted == contradicted


def test_a_report_that_is_not_believed_counts_where_it_admits_a_failure() -> None:
    cases: Cases = {OLD: ("failed", "E"), NEW: ("passed", "")}
    base = Outcomes(exit_code=0, cases={OLD: "passed", NEW: "passed"})
    judgement = judge(Evidence(base=base, head=ran(0, cases), listing=NONE), Limits())
    assert {case.id: case.head for case in judgement.cases} == {OLD: "failed", NEW: "unknown"}
    assert judgement.problems == [f"report not trusted: exit code 0, but it holds failures: {OLD}"]
    assert [failure.id for failure in judgement.failures] == [OLD]


def test_a_deleted_test_file_is_a_problem() -> None:
    cases: Cases = {OLD: ("passed", "")}
    base = Outcomes(exit_code=0, cases={OLD: "passed"})
    evidence = Evidence(base=base, head=ran(0, cases), listing=collected(cases), deleted=("tests/test_a.py",))
    assert judge(evidence, Limits()).problems == ["the test file tests/test_a.py was deleted"]
