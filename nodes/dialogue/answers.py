"""Answers of humans to the questions of a run: their shape, and the meaning of plain words."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar

from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from memory.validation import faults_of, read_json, valid_text
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


def read_answer(value: Any, question: Mapping[str, Any] | None = None) -> HumanAnswer:
    """Read an answer: an object, plain words, or the decision of a chat client on what `review` made.

    Raises Unusable with one line per fault.
    """
    if isinstance(value, str):
        value = spoken_answer(value)
    if not isinstance(value, Mapping):
        raise Unusable('An answer is {"decision": "approve" | "edit" | "reject", …}, or words such as "yes".')
    if "decisions" in value:
        value = _reviewed(value["decisions"], question or {})
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
            return accept(read_answer(interrupt(asked | review(asked)), asked))
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


def review(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return a question as LangChain's HITLRequest, which chat clients draw with buttons.

    https://reference.langchain.com/python/langchain/agents/middleware/human_in_the_loop
    """
    kind = question["kind"]
    name = question.get("tool", kind)
    action = {"name": name, "args": _arguments(question), "description": _description(question)}
    decisions = ["approve", "reject"] if kind == "environment" else ["approve", "edit", "reject"]
    config = {"action_name": name, "allowed_decisions": decisions}
    return {"action_requests": [action], "review_configs": [config]}


def _arguments(question: Mapping[str, Any]) -> dict[str, Any]:
    return dict(question.get("params") or question.get("plan") or {})


def _description(question: Mapping[str, Any]) -> str:
    """Return the texts of a question as Markdown, where four spaces make a block of code."""
    lists = {name: question.get(name) or [] for name in ("commands", "difference", "reasons")}
    code = ["\n".join(f"    {line}" for line in lists[name]) for name in ("commands", "difference")]
    command, remote, lock = (question.get(name) for name in ("command", "remote", "renewal"))
    blocks = [
        question.get("step"),
        command and f"    {command}",
        *code,
        remote and f"The remote is {remote}.",
        lock and f"The lock is renewed, with network: {lock}",
        *(question.get(name) for name in ("problem", "question", "reason")),
        *lists["reasons"],
    ]
    return "\n\n".join(filter(None, blocks))


def _reviewed(decisions: Any, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer that LangChain's HITLResponse means. Raises Unusable."""
    if not isinstance(decisions, list) or len(decisions) != 1 or not isinstance(decisions[0], Mapping):
        raise Unusable('Give one decision: {"decisions": [{"type": "approve" | "edit" | "reject", …}]}.')
    decision = decisions[0]
    answer = {"decision": decision.get("type"), "reason": decision.get("message")}
    if answer["decision"] != "edit":
        return answer
    action, name = decision.get("edited_action"), question.get("tool", question.get("kind"))
    if not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
        raise Unusable('An edit has an {"edited_action": {"name": …, "args": {…}}}.')
    if action.get("name", name) != name:
        raise Unusable(f"An edit changes the arguments of {name}, and not its name.")
    known = _arguments(question)
    edited = {key: _typed(value, known.get(key)) for key, value in action["args"].items()}
    return answer | {"plan" if question.get("kind") == "plan" else "params": edited}


def _typed(value: Any, before: Any) -> Any:
    """Return an edited argument as what it was before. Chat clients edit lists and objects as JSON text."""
    if isinstance(value, str) and isinstance(before, list | dict):
        with suppress(ValueError):  # what validates the arguments says what is wrong
            return read_json(value)
    return value


def _plain(text: str) -> str:
    return _MARKS.sub(" ", text[:100]).strip().lower()
