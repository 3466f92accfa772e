"""The critic's reply: a verdict, and its answers to the questions that a proof leaves open."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nodes.check.runners.test_names import shown_case
from nodes.dialogue import results
from nodes.dialogue.replies import Unusable, parse_json
from nodes.proof import Proof

QUOTED_WORDS = 3
"""Words that a quote needs, unless it is the whole task."""

SHOWN = 160
"""Characters of a quote or a place that an open question shows."""

SUMMARY_LENGTH = 800
"""Characters of what the critic tells the user."""

ANSWER_LETTERS = 3
NAMED = 10
"""Open questions that are named one by one."""

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_CJK_SIGN = re.compile(f"[{_CJK}]")
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_MARKS = str.maketrans({"`": "", "*": "", "\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})
_DISAGREES = re.compile(r"^\W*(?:i )?disagree\w*\W*", re.IGNORECASE)
_AGREES = re.compile(r"^\W*(?:agree|agreed|i agree)\b", re.IGNORECASE)


class Unanswered(Unusable):
    """A PASS that leaves questions of the proof open. `questions` has one sentence for each."""

    def __init__(self, questions: Sequence[str], misquoted: Sequence[str] = ()) -> None:
        refused = (results.line(text, SHOWN) for text in misquoted)
        told = [*questions, *(f"these words stand nowhere in the task: {text}" for text in refused)]
        super().__init__("The PASS leaves open:\n" + "\n".join(f"- {point}" for point in told))
        self.questions = list(questions)


@dataclass(frozen=True)
class Review:
    """The critic's reply. `demanded` and `suspicions` are by key, as the critic wrote them."""

    passed: bool
    reasons: list[str]
    demanded: Mapping[str, str] = field(default_factory=dict)
    suspicions: Mapping[str, str] = field(default_factory=dict)
    no_tests: str = ""
    summary: str = ""

    @property
    def consents(self) -> bool:
        """True if the critic agrees that nothing can be tested."""
        return bool(_AGREES.match(self.no_tests))

    @property
    def objection(self) -> str:
        """The critic's reason for wanting a test all the same, empty without one."""
        match = _DISAGREES.match(self.no_tests)
        return (self.no_tests[match.end() :].strip() or "a test is possible") if match else ""


def parse_verdict(text: str) -> Review:
    """Return the critic's review. Raises Unusable."""
    bare = re.match(r"\W{0,40}(PASS|FAIL)\b\W{0,40}(.*)", text, re.DOTALL)
    try:
        value = parse_json(text)
    except Unusable:
        if bare is None:
            raise
        reasons = [line.strip(" -*\t") for line in bare[2].splitlines() if line.strip(" -*\t")]
        return Review(bare[1] == "PASS", reasons)
    verdict, reasons = value.get("verdict"), value.get("reasons") or []
    if verdict not in ("PASS", "FAIL"):
        raise Unusable('"verdict" must be "PASS" or "FAIL".')
    if isinstance(reasons, str):
        reasons = [reasons]
    if not isinstance(reasons, list) or (verdict == "FAIL" and not reasons):
        raise Unusable('"reasons" must be a list of sentences; a FAIL needs at least one.')
    return Review(
        verdict == "PASS",
        [str(reason) for reason in reasons],
        _texts(value.get("demanded")),
        _texts(value.get("suspicions")),
        no_tests if isinstance(no_tests := value.get("no_tests"), str) else "",
        results.line(summary, SUMMARY_LENGTH) if isinstance(summary := value.get("summary"), str) else "",
    )


def read_review(text: str, proof: Proof, words: Sequence[str]) -> tuple[Review, Proof]:
    """Return the review, and the proof with the answers that hold.

    `words` are the task and the user's notes. Raises Unanswered if a PASS leaves a question open.
    """
    review = parse_verdict(text)
    answered = answer(proof, review, words)
    # An objection is an answer, too. It becomes a FAIL.
    questions = open_questions(answered, words, objected=bool(review.objection))
    if review.passed and questions:
        texts = [_plain(text) for text in words]
        misquoted = {quote: None for quote in review.demanded.values() if not holds(quote, texts)}
        raise Unanswered(questions, list(misquoted)[:NAMED] if answered.contradicted else [])
    return review, answered


def answer(proof: Proof, review: Review, words: Sequence[str]) -> Proof:
    """Return the proof with the review's answers. A quote that stands in no text of the user's is dropped."""
    texts = [_plain(text) for text in words]
    quotes = {_case_key(key): quote for key, quote in review.demanded.items() if holds(quote, texts)}
    demanded = {}
    for case in proof.contradicted:
        if quote := next((quotes[key] for key in keys_of(case) if key in quotes), ""):
            demanded[case] = " ".join(quote.split())
    answers = {key.strip(" #.:)(`"): text for key, text in review.suspicions.items()}
    suspicious = []
    for number, place in enumerate(proof.suspicious, 1):
        text = answers.get(str(number)) or answers.get(f"{place.file}:{place.line}") or ""
        kept = " ".join(text.split()) if _says_something(text) else ""
        suspicious.append(place.model_copy(update={"answer": kept}))
    consent = needs_consent(proof) and review.consents
    return proof.model_copy(update={"demanded": demanded, "suspicious": suspicious, "consent": consent})


def open_questions(proof: Proof, words: Sequence[str], objected: bool = False) -> list[str]:
    """Return what the critic has not answered well enough for a verified result, in sentences."""
    texts = [_plain(text) for text in words]
    held = {quote for quote in set(proof.demanded.values()) if holds(quote, texts)}
    cases = [case for case in proof.contradicted if proof.demanded.get(case) not in held]
    places = [
        f"suspicious and without an answer: {place.file}:{place.line}: {results.line(place.text, SHOWN)}"
        for place in proof.suspicious
        if not _says_something(place.answer)
    ]
    questions = _named(f"no sentence of the task demands that {shown_case(case)} fails now" for case in cases)
    questions += _named(places)
    if needs_consent(proof) and not proof.consent and not objected:
        questions.append(f"the critic has not agreed that no test is possible: {proof.untestable}")
    return questions


def needs_consent(proof: Proof) -> bool:
    """Return whether a proof rests on the tester's reason for no tests, which the critic must share."""
    return proof.grade == "tests" and bool(proof.untestable) and not proof.fail_to_pass


def holds(quote: str, texts: Sequence[str]) -> bool:
    """Return whether a quote stands in one of the texts, which `_plain` has made."""
    plain = _plain(quote)
    enough = len(_WORD.findall(plain)) >= QUOTED_WORDS
    return bool(plain) and any(plain == text or (enough and _has_words(text, plain)) for text in texts)


def _has_words(text: str, part: str) -> bool:
    """Return whether `part` stands in `text` as whole words. Scripts without spaces have no such bounds."""
    if _CJK_SIGN.search(part):
        return part in text
    at = text.find(part)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(part) : at + len(part) + 1]
        if not (before.isalnum() and part[0].isalnum()) and not (after.isalnum() and part[-1].isalnum()):
            return True
        at = text.find(part, at + 1)
    return False


def keys_of(case: str) -> list[str]:
    """Return the keys of `demanded` that mean a case: its id and its function, with or without its module."""
    module, _, name = case.partition("::")
    function = name.partition("[")[0]
    return [key for key in dict.fromkeys((case, shown_case(case), f"{module}::{function}", function)) if key]


def _case_key(key: str) -> str:
    """Return a key in the form of our ids: `tests/test_a.py::B::test_c` becomes `tests.test_a.B::test_c`."""
    key = key.strip(" `\"'*:.").removesuffix("[*]")
    path, _, rest = key.partition("::")
    if not path.endswith(".py"):
        return key
    classes, _, function = rest.rpartition("::")
    module = ".".join([path.removesuffix(".py").replace("/", "."), *filter(None, classes.split("::"))])
    return f"{module}::{function}"


def _texts(value: Any) -> dict[str, str]:
    """Return answers by key. Those of a list are numbered from 1."""
    if isinstance(value, list):
        value = {str(number): text for number, text in enumerate(value, 1)}
    if not isinstance(value, Mapping):
        return {}
    return {str(key): text for key, text in value.items() if isinstance(text, str)}


def _says_something(text: str) -> bool:
    return sum(character.isalpha() for character in text) >= ANSWER_LETTERS


def _plain(text: str) -> str:
    return " ".join(text.translate(_MARKS).casefold().split()).strip(" .!?…\"'")


def _named(questions: Iterable[str]) -> list[str]:
    questions = list(questions)
    more = len(questions) - NAMED
    return questions[:NAMED] + ([f"and {more} more of this kind"] if more > 0 else [])
