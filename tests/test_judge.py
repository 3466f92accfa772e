from nodes.check.judge import Evidence, judge
from nodes.check.outcomes import Outcomes
from nodes.check.output_text import CASE_CHARACTERS, TOTAL_CHARACTERS
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
