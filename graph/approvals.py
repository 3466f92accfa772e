"""Approvals that runs wait for: list the open questions, check answers, and pass them to the graph."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import RESUME

from graph.builder import Graph
from graph.errors import AnsweredApproval, InputError, UnknownApproval
from memory.records.journal import Journal
from memory.records.runs import RunRow
from nodes.dialogue.answers import read_answer
from nodes.dialogue.replies import Unusable
from nodes.event_parts import AnswerDetails
from nodes.events import ApprovalRequired, ApprovalResolved, Event
from nodes.planning.plan_reply import read_plan
from nodes.publish import Draft
from tools.catalogue import InvalidCall, read_call

AnswersById = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Answerer:
    """The person who answers, and the way: terminal, page, HTTP, SDK or chat."""

    through: str = ""
    by: str = ""


NOBODY = Answerer()
"""An answer whose way nobody has told."""


@dataclass(frozen=True)
class PendingApprovals:
    """Questions and answers of all threads. Checkpoints hold the questions, the journal holds the answers."""

    journal: Journal[Event]
    graph: Graph
    checkpointer: BaseCheckpointSaver[str]

    async def pending(self, run: RunRow) -> list[ApprovalRequired]:
        """Return the questions of a run that have no answer yet."""
        answered = await self.journal.approvals.answers(run.id)
        questions = {id: request for id, (request, _) in (await self._questions(run)).items()}
        return [ApprovalRequired(id=id, request=questions[id]) for id in questions if id not in answered]

    async def answer(self, run: RunRow, answers: AnswersById, answerer: Answerer = NOBODY) -> list[Event]:
        """Store answers to some or all questions, either all of them or none. A parked run is queued.

        Raises InputError, UnknownApproval, AnsweredApproval.
        """
        questions = await self._questions(run)
        checked = {
            id: check_answer(id, answer, questions.get(id, ({}, 0))[0], answerer)
            for id, answer in answers.items()
        }
        # The count tells a question that is asked again from one whose answer is still on its way.
        resumed = {id: count for id, (_, count) in questions.items()}
        drafts = [Draft(_resolved(id, answer, answerer)) for id, answer in checked.items()]
        outcome = await self.journal.approvals.answer(run.thread_id, run.id, checked, resumed, drafts)
        if isinstance(outcome, list):
            return outcome
        if unknown := sorted(id for id, why in outcome.items() if why == "unknown"):
            waiting = ", ".join(approval.id for approval in await self.pending(run)) or "none"
            raise UnknownApproval(f"no such approval: {', '.join(unknown)}; pending: {waiting}")
        raise AnsweredApproval(f"already answered: {', '.join(sorted(outcome))}")

    async def unused_answers(self, run: RunRow) -> dict[str, dict[str, Any]]:
        """Return the stored answers that the graph has not taken yet."""
        answers = await self.journal.approvals.answers(run.id)
        taken = {id: count for id, (_, count) in (await self._questions(run)).items()}
        return {id: answer for id, (answer, before) in answers.items() if taken.get(id) == before}

    async def _questions(self, run: RunRow) -> dict[str, tuple[dict[str, Any], int]]:
        """Return the open interrupts by id, with the number of answers that their tasks have taken."""
        config = RunnableConfig(configurable={"thread_id": run.thread_id})
        state = await self.graph.aget_state(config)
        if not state.interrupts or state.values.get("run") != run.id:
            return {}
        # An answered interrupt stays in the state until its task ends. Only the RESUME writes tell it apart.
        saved = await self.checkpointer.aget_tuple(state.config)
        writes = (saved and saved.pending_writes) or []
        taken = {task: len(value) for task, channel, value in writes if channel == RESUME}
        return {
            interrupt.id: (dict(interrupt.value), taken.get(task.id, 0))
            for task in state.tasks
            for interrupt in task.interrupts
        }


def _resolved(id: str, answer: Mapping[str, Any], answerer: Answerer) -> ApprovalResolved:
    details = AnswerDetails(
        by=answerer.by, through=answerer.through, params=answer.get("params"), scope=answer.get("scope")
    )
    return ApprovalResolved(id=id, decision=answer["decision"], reason=answer.get("reason"), details=details)


def check_answer(
    id: str, answer: Mapping[str, Any], request: Mapping[str, Any], answerer: Answerer = NOBODY
) -> dict[str, Any]:
    """Return the answer if it fits its question. Raises InputError."""
    try:
        checked = read_answer(dict(answer), request)
    except Unusable as error:
        raise InputError(f"{id}: {error}") from error
    kind = request.get("kind")
    if checked.scope and kind != "tool":
        raise InputError(f"the answer to {id} has a scope, which only answers about tools can have")
    if checked.scope and request.get("uncertain"):
        raise InputError(f"{id} asks about what may have happened, so its answer can have no scope")
    if checked.decision == "edit":
        if kind == "tool":
            _check_params(id, checked.params, request)
        if kind == "environment":
            _check_choice(id, checked.params, request.get("at_hand") or [])
        if kind == "plan":
            try:
                read_plan(checked.plan)
            except Unusable as error:
                raise InputError(f"the answer to {id} cannot be used. {error}") from error
    known = {"remote": request.get("remote"), "by": answerer.by, "through": answerer.through}
    seen = checked.model_copy(update=known)
    return seen.model_dump(exclude_none=True)


def _check_params(id: str, params: Mapping[str, Any] | None, request: Mapping[str, Any]) -> None:
    """Raise InputError unless `params` are valid for the tool that a question is about."""
    if params is None:
        raise InputError(f"the answer to {id} edits nothing; give `params`")
    try:
        read_call(request.get("tool"), dict(params))
    except InvalidCall as error:
        raise InputError(f"the answer to {id} cannot be used: {error}") from error


def _check_choice(id: str, params: Mapping[str, Any] | None, offered: Sequence[str]) -> None:
    """Raise InputError unless `params` chooses one of the virtual environments that a question offers."""
    if not offered:
        raise InputError(f"the answer to {id} edits what cannot be edited; approve or reject it")
    if params is None or set(params) != {"venv"} or params["venv"] not in offered:
        wanted = " or ".join(json.dumps({"venv": path}, ensure_ascii=False) for path in offered)
        raise InputError(f"the answer to {id} edits the wrong thing; give `params` as {wanted}")
