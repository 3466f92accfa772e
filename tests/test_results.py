"""Results in words: what is weak comes first, and no figure hides what did not run."""

from typing import Any

import pytest
from story import PROOF

from nodes.dialogue.results import summarize
from nodes.proof import ResultSummary

WEAK: dict[str, Any] = {
    "untestable": "",
    "suspicious": [
        {"file": "conftest.py", "line": 3, "text": "sys.argv", "answer": "It reads a fixture."},
        {"file": "shop/cart.py", "line": 9, "text": "os._exit(0)"},
    ],
    "contradicted": ["t::a", "t::b"],
    "old_errors": {"t::a": "assert 1 == 2"},
    "demanded": {"t::a": "Let a round up."},
    "uncollected": [{"file": "tests/test_app.py", "reason": "No module named 'flask'"}],
    "scope": "affected",
    "scope_reason": "the whole suite needs more than 30 s on the base",
    "strength": {"killed": 9, "tried": 10, "untried": 6},
    "unguarded": [{"file": "shop/cart.py", "first": 14, "last": 18, "mutant": "total() returns nothing"}],
}


def test_long_parameters_of_a_case_are_cut_in_their_middle() -> None:
    case = f"tests.test_utils::test_from_timestamp[1{'0' * 400}-utc]"
    told = summary(unsteady=[case, "t::a[1]"]).weaknesses
    assert "tests.test_utils::test_from_timestamp[10000" in told[0] and "00-utc], t::a[1]" in told[0]
    assert len(told[0]) < 250


def summary(missing: tuple[str, ...] = (), **more: Any) -> ResultSummary:
    return summarize(PROOF | {"vacuous": []} | more, missing)


def test_a_result_without_a_weakness_says_so_in_a_word() -> None:
    assert summary() == ResultSummary(
        headline="Verified",
        figures="4 of 4 test cases pass; 2 of them are new and fail without the change",
    )


def test_every_weakness_is_told_with_its_place_and_the_critics_answer() -> None:
    told = summary(**WEAK)
    assert told.headline == "Verified, with 2 contradicted tests and 2 suspicions"
    assert told.weaknesses == [
        "Suspicious: conftest.py:3: sys.argv (the critic says: It reads a fixture.)",
        "Suspicious: shop/cart.py:9: os._exit(0) (nobody has explained it)",
        "Contradicted: t::a (assert 1 == 2) passed on the base, and its old version fails now "
        "(the critic says that the task demands it: “Let a round up.”)",
        "Contradicted: t::b passed on the base, and its old version fails now "
        "(nobody has named a sentence of the task that demands it)",
        "Not imported: tests/test_app.py could not be imported: No module named 'flask'",
        "Scope: only the tests that the change can reach were run: "
        "the whole suite needs more than 30 s on the base",
        "Unguarded: shop/cart.py 14\N{EN DASH}18: no test notices when total() returns nothing",
    ]
    assert "1 test module could not be imported" in told.figures
    assert "9 of 10 mutants of the change were noticed (no time for 6 more)" in told.figures
    assert "suspicious places" in told.advice


def test_that_no_test_was_added_comes_first() -> None:
    cases = [case | {"new": False, "base": "passed"} for case in PROOF["cases"]]
    told = summary(cases=cases, **WEAK | {"untestable": "only words"})
    assert told.headline == "Verified, but no test was added, with 2 contradicted tests and 2 suspicions"
    assert told.weaknesses[0] == "No test was added: only words"
    agreed = summary(cases=cases, untestable="only words", consent=True)
    assert agreed.weaknesses == ["No test was added: only words (the critic agrees)"]
    assert "the whole change" in agreed.advice


def test_a_suite_without_cases_tells_its_command_and_exit_code() -> None:
    told = summary(grade="exit code", command=["make", "test"], cases=[])
    assert told.figures == "`make test` ended with exit code 0"


def test_proofs_of_older_versions_keep_their_warning() -> None:
    (weakness,) = summary(sensitive=["conftest.py"]).weaknesses
    assert weakness.startswith("Sensitive: conftest.py")


def test_long_lists_and_texts_are_cut_and_counted() -> None:
    places = [{"file": f"f{n}.py", "line": n, "text": "x" * 5_000} for n in range(40)]
    told = summary(suspicious=places)
    assert told.headline == "Verified, with 40 suspicions"
    assert told.weaknesses[-1] == "Suspicious: and 28 more places"
    assert len(told.weaknesses) == 13 and max(map(len, told.weaknesses)) < 300


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"green": False, "problems": ["red"], "base_shows_it": True}, "own tests run in the sandbox first"),
        ({"green": False, "problems": ["red"], "not_the_change": "no network"}, "If the debugger is right"),
        (
            {"cases": [{"id": "t::a", "base": "passed", "head": "failed"}]}
            | {"green": False, "problems": ["red"], "not_the_change": "no network"},
            "doubt the debugger",
        ),
        ({"green": False, "problems": ["red"]}, "failing output"),
        ({"gaps": ["nothing tests it"]}, "Cure the cause"),
        ({"verdict": "FAIL"}, "on the same thread"),
    ],
)
def test_a_result_that_is_not_verified_says_what_to_do_next(more: dict[str, Any], words: str) -> None:
    told = summary(("it is red",), **more)
    assert told.headline == "Not verified" and words in told.advice


def test_a_result_without_a_check_has_advice_too() -> None:
    told = summarize(None, ["no sandbox"])
    assert told.headline == "Not verified" and told.advice and not told.figures


def test_the_environment_of_the_tests_is_named_and_a_change_with_its_own_names_two() -> None:
    one = {"key": "3f2a9c10" * 3, "sources": ["pyproject.toml", "uv.lock"]}
    assert summary(environments=[one]).figures.endswith(
        "; in the environment 3f2a9c10… from pyproject.toml, uv.lock"
    )
    own = {"key": "9b" * 12, "side": "change", "folder": "api", "sources": [f"r{n}.txt" for n in range(5)]}
    two = summary(environments=[{**one, "side": "base"}, own]).figures
    assert "; base in the environment 3f2a9c10… from pyproject.toml, uv.lock, change in the env" in two
    assert two.endswith("9b9b9b9b… of api from r0.txt, r1.txt, r2.txt and 2 more")
    exit_code = summary(environments=[one], grade="exit code").figures
    assert "ended with exit code 0; in the environment 3f2a9c10…" in exit_code
    assert "environment" not in summary().figures


def test_that_the_environment_is_missing_is_said_first_and_once() -> None:
    problem = "The environment could not be built: ffi.h is missing.\nLast lines of the output:\n    x"
    told = summary(("the tests of the change are red",), missing_environment=problem, sensitive=["setup.py"])
    said = "The environment is missing: The environment could not be built: ffi.h is missing"
    assert told.headline == "Not verified: the environment is missing"
    assert told.weaknesses[0] == said and "setup.py" in told.weaknesses[1]
    assert ".autocode.toml" in told.advice
    again = summary((said[0].lower() + said[1:],), missing_environment=problem)
    assert again.weaknesses == [] and again.headline == told.headline
