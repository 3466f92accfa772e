"""Approvals of a thread: what it waits for, whether an answer can be one, and how answers reach the graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import RESUME
from pydantic import BaseModel, ConfigDict, ValidationError

from graph.builder import Graph
from graph.errors import AnsweredApproval, InputError, UnknownApproval
from memory.records.journal import Journal
from memory.records.runs import RunRow
from memory.validation import faults_of
from nodes.dialogue.replies import Unusable
from nodes.events import ApprovalRequired, ApprovalResolved, Event
from nodes.planner import read_plan
from nodes.publish import Draft

Answers = Mapping[str, Mapping[str, Any]]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "edit", "reject"]
    plan: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Approvals:
    """The questions of all threads: the checkpoints know what is asked, the journal what was answered."""

    journal: Journal[Event]
    graph: Graph
    checkpointer: BaseCheckpointSaver[str]

    async def pending(self, run: RunRow) -> list[ApprovalRequired]:
        """The questions of a run that have no answer yet."""
        answered = await self.journal.approvals.answers(run.id)
        waiting = (await self._asked(run)).items()
        return [
            ApprovalRequired(id=id, request=request) for id, (request, _) in waiting if id not in answered
        ]

    async def answer(self, run: RunRow, answers: Answers) -> list[Event]:
        """Store answers to some or all questions, all of them or none; a parked run is queued by that.

        Raises InputError for what is no answer, UnknownApproval, AnsweredApproval.
        """
        asked = await self._asked(run)
        checked = {id: _checked(id, answer, asked.get(id, ({}, 0))[0]) for id, answer in answers.items()}
        resumed = {id: count for id, (_, count) in asked.items()}
        drafts = [
            Draft(ApprovalResolved(id=id, decision=answer["decision"], reason=answer.get("reason")))
            for id, answer in checked.items()
        ]
        outcome = await self.journal.approvals.answer(run.thread_id, run.id, checked, resumed, drafts)
        if isinstance(outcome, list):
            return outcome
        if unknown := sorted(id for id, why in outcome.items() if why == "unknown"):
            waiting = ", ".join(one.id for one in await self.pending(run)) or "none"
            raise UnknownApproval(f"no such approval: {', '.join(unknown)}; pending: {waiting}")
        raise AnsweredApproval(f"already answered: {', '.join(sorted(outcome))}")

    async def given(self, run: RunRow) -> dict[str, dict[str, Any]]:
        """The answers that the graph waits for and has not taken yet."""
        answers = await self.journal.approvals.answers(run.id)
        taken = {id: count for id, (_, count) in (await self._asked(run)).items()}
        return {id: answer for id, (answer, before) in answers.items() if taken.get(id) == before}

    async def _asked(self, run: RunRow) -> dict[str, tuple[dict[str, Any], int]]:
        """What the graph waits for: requests by id, with how many answers their tasks have taken."""
        config = RunnableConfig(configurable={"thread_id": run.thread_id})
        state = await self.graph.aget_state(config)
        if not state.interrupts or state.values.get("run") != run.id:
            return {}
        saved = await self.checkpointer.aget_tuple(state.config)
        writes = (saved and saved.pending_writes) or []
        taken = {task: len(value) for task, channel, value in writes if channel == RESUME}
        return {
            asked.id: (dict(asked.value), taken.get(task.id, 0))
            for task in state.tasks
            for asked in task.interrupts
        }


def _checked(id: str, answer: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the right shape for its question. Raises InputError."""
    try:
        checked = _Answer.model_validate(dict(answer))
    except ValidationError as error:
        raise InputError(f"the answer to {id} cannot be used: {'; '.join(faults_of(error))}") from error
    if checked.decision == "edit":
        kind = request.get("kind")
        if kind == "tool" and checked.params is None:
            raise InputError(f"the answer to {id} edits nothing; give `params`")
        if kind == "plan":
            try:
                read_plan(checked.plan)
            except Unusable as error:
                raise InputError(f"the answer to {id} cannot be used. {error}") from error
    return checked.model_dump(exclude_none=True)
