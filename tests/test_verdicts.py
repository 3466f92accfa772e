"""The critic's answers: which quotes hold, which keys mean which cases, and what is left open."""

import json
import time

import pytest

from nodes.dialogue.verdicts import Unanswered, open_questions, read_review
from nodes.proof import CaseProof, Proof, Suspicion

CASE = "tests.shop.test_cart.TestCart::test_total[1-2]"
TASK = "Let total() round half up.\nThe *discount* is no longer subtracted; users said “never again”."
PASS = {"verdict": "PASS", "reasons": []}


def proof(**more: object) -> Proof:
    new = CaseProof(id="tests.test_new::test_new", base="failed", head="passed", new=True)
    plain = {"base": "b", "head": "h", "tree": "t", "backend": "", "image": "", "command": [], "exit_code": 0}
    return Proof.model_validate(plain | {"green": True, "cases": [new]} | more)


def quoted(key: str, quote: str, task: str = TASK) -> dict[str, str]:
    """Return the demands that a proof holds after a PASS with one quote, none if the quote is refused."""
    reply = json.dumps(PASS | {"demanded": {key: quote}})
    try:
        return read_review(reply, proof(contradicted=[CASE]), [task])[1].demanded
    except Unanswered:
        return {}


@pytest.mark.parametrize(
    "quote",
    [
        "Let total() round half up.",
        "  let TOTAL()\nround   half",
        "`total()` round half up",
        "The discount is no longer subtracted",
        'users said "never again"',
        "“The discount is no longer subtracted…”",
        TASK,
    ],
)
def test_a_quote_holds_if_it_stands_in_the_task_white_space_case_and_marks_aside(quote: str) -> None:
    assert quoted(CASE, quote) == {CASE: " ".join(quote.split())}


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "...",
        "total",
        "half up",
        "The discount is subtracted",
        "et total() round half",
        "round half u",
        "\u200b",
    ],
)
def test_a_quote_that_is_not_in_the_task_or_says_nothing_is_refused(quote: str) -> None:
    assert quoted(CASE, quote) == {}


def test_short_tasks_and_scripts_without_spaces_can_be_quoted() -> None:
    assert quoted(CASE, "round up", "Round up!") and not quoted(CASE, "round", "Round up!")
    assert quoted(CASE, "合計を切り上げる", "カートの合計を切り上げるようにする。")
    assert not quoted(CASE, "合計を切り捨てる", "カートの合計を切り上げるようにする。")


@pytest.mark.parametrize(
    ("key", "means"),
    [
        (CASE, True),
        ("tests.shop.test_cart.TestCart::test_total", True),
        ("tests/shop/test_cart.py::TestCart::test_total", True),
        ("tests/shop/test_cart.py::TestCart::test_total[1-2]", True),
        ("tests/shop/test_cart.py::TestCart", False),
        ("`tests/shop/test_cart.py`", False),
        ("tests.shop.test_cart.*", False),
        ("tests.shop.test_cart", False),
        ("test_total", True),
        ("test_total[*]", True),
        ("tests.shop", False),
        ("tests", False),
        ("*", False),
        ("", False),
        ("tests.shop.test_cart.TestCart::test_total[2-2]", False),
        ("tests.shop.test_cart.TestCart::test", False),
    ],
)
def test_a_key_is_a_case_or_a_function_but_no_class_file_or_folder(key: str, means: bool) -> None:
    assert bool(quoted(key, "Let total() round half up")) is means


@pytest.mark.parametrize(
    ("answers", "second"),
    [
        ({"1": "A fixture.", "2": "It is read once."}, "It is read once."),
        (["A fixture.", "It is read once."], "It is read once."),
        ({"#1": "A fixture.", "conftest.py:7": "It is read once."}, "It is read once."),
        ({"1": "A fixture.", "2": " "}, None),
        ({"1": "A fixture."}, None),
        ("harmless, both", None),
        (None, None),
    ],
)
def test_each_suspicion_needs_an_answer_of_its_own(answers: object, second: str | None) -> None:
    places = [Suspicion(file="conftest.py", line=line, text="import sys") for line in (3, 7)]
    reply = json.dumps(PASS | {"suspicions": answers})
    if second:
        answered = read_review(reply, proof(suspicious=places), [TASK])[1]
        assert [place.answer for place in answered.suspicious] == ["A fixture.", second]
        assert open_questions(answered, [TASK]) == []
    else:
        with pytest.raises(Unanswered, match=r"conftest\.py:7: import sys"):
            read_review(reply, proof(suspicious=places), [TASK])


@pytest.mark.parametrize(
    ("reply", "consent"),
    [
        ({"no_tests": "agree"}, True),
        ({"no_tests": "Agree: words alone"}, True),
        ({"no_tests": "I agree."}, True),
        ({"no_tests": "agreeable"}, None),
        ({"no_tests": "yes"}, None),
        ({"no_tests": True}, None),
        ({}, None),
        ({"no_tests": "disagree: test the rounding"}, False),
    ],
)
def test_consent_to_no_tests_is_a_clear_word(reply: dict[str, object], consent: bool | None) -> None:
    bare = proof(cases=[CaseProof(id="tests.a::b", base="passed", head="passed")], untestable="words alone")
    if consent is None:
        with pytest.raises(Unanswered, match="no test is possible: words alone"):
            read_review(json.dumps(PASS | reply), bare, [TASK])
        return
    review, answered = read_review(json.dumps(PASS | reply), bare, [TASK])
    assert answered.consent is consent and bool(review.objection) is not consent


def test_a_fail_needs_no_answers() -> None:
    places = [Suspicion(file="conftest.py", line=3, text="import sys")]
    fail = '{"verdict": "FAIL", "reasons": ["conftest.py: drop it"]}'
    review, answered = read_review(fail, proof(suspicious=places, contradicted=[CASE]), [TASK])
    assert not review.passed and answered.demanded == {} and answered.suspicious == places


def test_long_replies_and_long_tasks_are_read_in_time() -> None:
    task = "a " * 100_000
    demanded = {f"tests.test_a::test_{number}": "a " * 20_000 + "b" for number in range(20)}
    demanded |= {f"tests.test_a::test_{number}": "x" for number in range(20, 5_000)}
    cases = [f"tests.test_a::test_{number}[{id}]" for number in range(500) for id in range(10)]
    start = time.monotonic()
    with pytest.raises(Unanswered, match="and 4990 more of this kind"):
        read_review(json.dumps(PASS | {"demanded": demanded}), proof(contradicted=cases), [task])
    assert time.monotonic() - start < 5
