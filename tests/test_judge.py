import time

import pytest

from nodes.check.execution.evidence import Evidence
from nodes.check.judge import judge
from nodes.check.outcomes import Outcomes
from nodes.check.output_text import CASE_CHARACTERS, TOTAL_CHARACTERS
from nodes.check.unrun.shared_causes import MORE_MEMORY, ChangedFiles
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
        f"ran out of memory (512 MB; {MORE_MEMORY})": Result(137, "", "", 3.0, out_of_memory=True),
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
    ("on_base", "proves"),
    [
        (Outcomes(exit_code=1, cases={OLD: "failed"}), True),
        (Outcomes(exit_code=0, cases={OLD: "passed"}), False),
        (Outcomes(exit_code=1, cases={OLD: "failed"}, nameless=(OLD,)), True),  # mutants decide
        (Outcomes(exit_code=1, cases={"::test_old": "error"}), False),
        (Outcomes(exit_code=1, cases={OLD: "error"}), False),
        (Outcomes(exit_code=137, stopped="timed out"), False),
        (None, False),
    ],
)
def test_an_edited_case_proves_something_if_its_new_text_ran_and_failed_on_the_base(
    on_base: Outcomes | None, proves: bool
) -> None:
    after: Cases = {OLD: ("passed", "")}
    base = Outcomes(exit_code=0, cases={OLD: "passed"})
    evidence = Evidence(
        base=base,
        head=ran(0, after),
        listing=collected(after),
        new_on_base=on_base,
        new_tests=frozenset({"test_old.py"}),
    )
    (case,) = judge(evidence, Limits()).cases
    assert (case.new, case.base, case.fail_to_pass) == (False, "passed", proves)


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


def paired(old: dict[str, ReportOutcome], head: dict[str, ReportOutcome]) -> tuple[list[str], list[str]]:
    """Return problems and contradictions if OLD[a] and OLD[b] passed on the base, and later did as `old`."""
    base = Outcomes(exit_code=0, cases={f"{OLD}[{name}]": "passed" for name in "ab"})
    after: Cases = {f"{OLD}[{name}]": (outcome, "") for name, outcome in head.items()}
    cases = {f"{OLD}[{name}]": outcome for name, outcome in old.items()}
    evidence = Evidence(
        base=base,
        head=ran(0, after),
        listing=collected(after),
        old_on_head=Outcomes(exit_code=int("failed" in old.values()), cases=cases) if old else None,
        new_tests=frozenset({"test_old.py"}),
    )
    judgement = judge(evidence, Limits())
    return [problem.partition(":")[0] for problem in judgement.problems], judgement.contradicted


VANISHED = "1 case passed on the base and vanished"


@pytest.mark.parametrize(
    ("old", "head", "problems", "contradicted"),
    [
        ({"a": "passed", "b": "passed"}, {"a": "passed", "c": "passed"}, [], []),
        ({"a": "passed", "b": "failed"}, {"a": "passed", "c": "passed"}, [], ["b"]),
        ({"a": "failed", "b": "failed"}, {"c": "passed", "d": "passed"}, [], ["a", "b"]),
        ({"a": "passed", "b": "passed"}, {"a": "passed"}, [VANISHED], []),
        ({"a": "passed", "b": "passed"}, {"a": "passed", "c": "passed", "d": "passed"}, [], []),
        ({"a": "failed", "b": "failed"}, {"c": "passed", "d": "passed", "e": "passed"}, [], ["a", "b"]),
        ({"a": "passed"}, {"a": "passed", "c": "passed"}, [], ["b"]),
        ({"a": "passed", "b": "passed"}, {"c": "passed"}, [VANISHED.replace("1 case", "2 cases")], []),
        ({}, {"a": "passed", "c": "passed"}, [VANISHED], []),
    ],
)
def test_a_parametrised_case_is_followed_by_its_successor(
    old: dict[str, ReportOutcome],
    head: dict[str, ReportOutcome],
    problems: list[str],
    contradicted: list[str],
) -> None:
    assert paired(old, head) == (problems, [f"{OLD}[{name}]" for name in contradicted])


def uncollected(reason: str) -> Result:
    return ran(1, {"::test_old": ("error", f"E   ImportError: {reason}")})


CONFTEST = Result(
    4, "", "ImportError while loading conftest '/workspace/conftest.py'.\nE   NameError: x", 0.3
)


@pytest.mark.parametrize(
    ("base", "head", "shared"),
    [
        (CONFTEST, CONFTEST, True),
        (CONFTEST, Result(4, "", "pytest: error: other", 0.3), False),
        (ran(0, {OLD: ("passed", "")}), CONFTEST, False),
        (Result(137, "", "", 9.0, timed_out=True), Result(137, "", "", 9.0, timed_out=True), True),
        (ran(0, {OLD: ("passed", "")}), Result(137, "", "", 9.0, timed_out=True), False),
        (Result(137, "", "", 9.0, timed_out=True), Result(137, "", "", 9.0, out_of_memory=True), False),
        (uncollected("No module named 'yaml'"), uncollected("No module named 'yaml'"), True),
        (uncollected("No module named 'yaml'"), uncollected("No module named 'toml'"), False),
        (uncollected("No module named 'shop.new'"), uncollected("No module named 'shop.new'"), False),
        (uncollected("cannot import name 'a'"), uncollected("cannot import name 'a'"), False),
    ],
)
def test_a_red_check_that_the_base_shows_too_is_not_for_repair(
    base: Result, head: Result, shared: bool
) -> None:
    listing = Result(1, "\nno tests collected, 1 error in 0.1s\n", "", seconds=0.0)
    files = ChangedFiles.of(["shop/cart.py"], ["shop/__init__.py", "shop/cart.py", "test_old.py"])
    judgement = judge(Evidence(Outcomes.of(base), head, listing, files=files), Limits())
    assert judgement.base_shows_it is shared
    assert any("on the base either" in problem for problem in judgement.problems) is shared


def test_a_root_that_is_a_package_itself_has_modules() -> None:
    files = ChangedFiles.of(["calc.py"], ["__init__.py", "calc.py", "tests/__init__.py", "tests/test_a.py"])
    assert {"calc", "tests", "test_a"} <= files.own_modules


def test_a_suite_of_many_cases_is_asked_for_each_of_them_in_linear_time() -> None:
    cases: dict[str, ReportOutcome] = {f"c::n{number}": "passed" for number in range(30_000)}
    outcomes = Outcomes(exit_code=0, runner="JUnit", cases=cases)
    began = time.monotonic()
    assert {outcomes.of_case(case) for case in cases} == {"passed"}
    assert time.monotonic() - began < 2  # it was a minute
    assert outcomes.known and not outcomes.model_copy(update={"stopped": "timed out"}).known
