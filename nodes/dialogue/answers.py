"""Answers of humans to the questions of a run: their shape, and the meaning of plain words."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from memory.validation import faults_of, valid_text
from nodes.dialogue.replies import Unusable

T = TypeVar("T")

YES = frozenset((
    "y", "yes", "yep", "yeah", "yes please", "ok", "okay", "k", "sure", "fine", "good", "great", "perfect",
    "approve", "approved", "accept", "accepted", "agreed", "go", "go on", "go ahead", "continue", "proceed",
    "yes go on", "go on without it", "build it", "run", "do it", "looks good", "sounds good", "all good",
    "lgtm", "ship it", "👍",
))  # fmt: skip
NO = frozenset(("n", "no", "nope", "reject", "rejected", "cancel", "stop", "abort", "👎"))

_MARKS = re.compile(r"[\s.,!;:]+")
_USE = re.compile(r"^(?:please )?use (?:the )?|[.!]$", re.IGNORECASE)


class HumanAnswer(BaseModel):
    """A human's answer to one question. With a `scope`, the same is not asked again in it.

    `remote` is the address that the question showed. `by` and `through` say who answered, and which way.
    """

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "edit", "reject"]
    plan: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    reason: str | None = None
    scope: Literal["run", "repository"] | None = None
    remote: str | None = None
    by: str | None = None
    through: str | None = None

    def answerer(self) -> dict[str, str]:
        """Return who answered and which way, as far as that is known."""
        return {name: value for name in ("by", "through") if (value := getattr(self, name))}

    @field_validator("reason")
    @classmethod
    def telling(cls, reason: str | None) -> str | None:
        """Return the reason, None for one that says no more than the decision."""
        return valid_text(reason).strip() if reason and _plain(reason) not in {"", *NO} else None


def read_answer(value: Any) -> HumanAnswer:
    """Read an answer: an object, or plain words. Raises Unusable with one line per fault."""
    if isinstance(value, str):
        value = spoken_answer(value)
    if not isinstance(value, Mapping):
        raise Unusable('An answer is {"decision": "approve" | "edit" | "reject", …}, or words such as "yes".')
    try:
        return HumanAnswer.model_validate(dict(value))
    except ValidationError as error:
        faults = "; ".join(faults_of(error))
        raise Unusable(f"The answer cannot be used: {faults}.") from error


def ask(question: Mapping[str, Any], accept: Callable[[HumanAnswer], T]) -> T:
    """Interrupt the run with a question until `accept`, which raises Unusable, takes the answer.

    A resume runs the node again, and each interrupt then returns its answer. So a node must not ask twice.
    """
    asked = dict(question)
    while True:
        try:
            return accept(read_answer(interrupt(asked)))
        except Unusable as error:
            told = [str(error), *([question["problem"]] if question.get("problem") else [])]
            asked = {**question, "problem": "\n".join(told)}


def spoken_answer(text: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer that a message means: a plain yes approves, all else refuses with its words.

    Where the question offers virtual environments, `.venv` or `use .venv` chooses that one.
    """
    if _plain(text) in YES:
        return {"decision": "approve"}
    wish = _USE.sub("", text.strip())
    if wish and wish in ((request or {}).get("at_hand") or ()):
        return {"decision": "edit", "params": {"venv": wish}}
    return {"decision": "reject", "reason": text.strip()}


def _plain(text: str) -> str:
    return _MARKS.sub(" ", text[:100]).strip().lower()
