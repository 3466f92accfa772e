"""Submission of runs: queue a new one, or resume the thread's waiting or interrupted one."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast
from uuid import uuid4

from graph.approvals import Answerer
from graph.errors import UnknownThread
from graph.supervisor import Strategy, Supervisor
from memory.records.runs import RunRow
from memory.records.threads import ThreadRow
from nodes.dialogue.messages import task_of
from nodes.state import Input
from server.api.problems import Problem
from server.api.task_submission import SubmittedRun, choose_repository, last_seq
from server.protocol.assistants import check_assistant
from server.protocol.projection import MODES, UNSERVED_MODES
from server.protocol.request_bodies import RunBody, RunInput, not_served
from server.protocol.state_json import read_state

METADATA_KEY = "agent_protocol"
"""Key in a run's metadata for its stream modes, which readers that join later use."""

# LangGraph's ids are xxh3-128 hashes. Keys of an answer itself look different.
INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")
MODES_JSON = re.compile(r'\[("[a-z-]+"(, ?)?)*\]')


async def submit_or_resume(
    supervisor: Supervisor, body: RunBody, thread_id: str | None, client: str = ""
) -> SubmittedRun:
    """Queue or resume the run that `body` of a `client` describes. Without a thread it gets a new one."""
    check_assistant(body.assistant_id)
    modes = check_modes(body.stream_mode)
    thread = await supervisor.journal.threads.get(thread_id) if thread_id else None
    if thread_id and thread is None and body.if_not_exists == "reject":
        raise UnknownThread(f"there is no thread {thread_id}")
    thread_id = thread_id or str(uuid4())  # the scratch repository is named after it
    await check_newest(supervisor, thread_id, body.wanted_checkpoint)
    after = await last_seq(supervisor, thread_id)
    if body.command and body.command.resume is not None:
        answers = await _answers(supervisor, thread_id, body.command.resume)
        return SubmittedRun(
            await supervisor.resume(thread_id, answers, answerer=Answerer("SDK", client)), after
        )
    if body.input is None:
        return SubmittedRun(await supervisor.resume(thread_id), after)
    run_input = body.input
    if (
        body.multitask_strategy is None
        and thread
        and (run := await _answered(supervisor, thread, run_input, client))
    ):
        return SubmittedRun(run, after)
    repo, files = await choose_repository(
        supervisor, thread_id, run_input.repo, run_input.context_files or []
    )
    input = run_input.model_dump() | {"repo": repo, "context_files": files}
    # A run that waits without a question, as a fork does, is replaced, as in LangGraph.
    default: Strategy = "interrupt" if thread and thread.status == "waiting" else "enqueue"
    strategy = body.multitask_strategy or default
    metadata = body.metadata | {METADATA_KEY: {"stream_mode": modes, "multitask_strategy": strategy}}
    run = await supervisor.submit(cast(Input, input), thread_id, strategy=strategy, metadata=metadata)
    return SubmittedRun(run, after)


async def _answered(supervisor: Supervisor, thread: ThreadRow, input: RunInput, client: str) -> RunRow | None:
    """Take a message on a waiting thread as the answer, and return its run. None if it does not wait.

    The message must not start a task, because nobody has approved one.
    """
    values = input.model_dump()
    words = str(values.get("task") or task_of(values.get("messages") or []))
    event = await supervisor.reply(thread.id, words, Answerer("chat", client))
    return await supervisor.run(event.run_id) if event else None


def check_modes(stream_mode: Iterable[str] | str) -> list[str]:
    """Return the stream modes that a client names: none, one, several, or several as a JSON array.

    Raises Problem for a mode that is unknown or not served.
    """
    modes: list[str] = []
    for mode in [stream_mode] if isinstance(stream_mode, str) else stream_mode:
        modes += json.loads(mode) if MODES_JSON.fullmatch(mode) else [mode]
    modes = [mode for mode in dict.fromkeys(modes) if mode]
    if unserved := [mode for mode in modes if mode in UNSERVED_MODES]:
        raise not_served(*(f"stream_mode {mode}" for mode in unserved))
    if unknown := [mode for mode in modes if mode not in MODES]:
        detail = f"there is no stream mode {', '.join(unknown)}; there are {', '.join(MODES)}"
        raise Problem(422, "Invalid request", detail)
    return modes


async def check_newest(supervisor: Supervisor, thread_id: str, checkpoint_id: str | None) -> None:
    """Raise Problem for a checkpoint that is not the thread's newest. Earlier ones need a fork."""
    if checkpoint_id and checkpoint_id != (await read_state(supervisor, thread_id))["checkpoint_id"]:
        raise not_served(f"an earlier checkpoint ({checkpoint_id}) on the same thread: fork the thread there")


async def _answers(supervisor: Supervisor, thread_id: str, resume: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return answers by interrupt id. `resume` holds them by id, or is the answer to the only interrupt."""
    if isinstance(resume, Mapping) and resume and all(INTERRUPT_ID.fullmatch(str(key)) for key in resume):
        answers = dict(resume)
    else:
        pending = [approval.id for approval in await supervisor.pending(thread_id)]
        if len(pending) != 1:
            detail = f"{len(pending)} interrupts wait on this thread"
            hint = f"answer by their ids: {', '.join(pending)}" if pending else "there is nothing to answer"
            raise Problem(422 if pending else 409, "Not one interrupt", f"{detail}; {hint}")
        answers = {pending[0]: resume}
    for id, answer in answers.items():
        told = isinstance(answer, Mapping) and (
            "decisions" in answer or isinstance(answer.get("decision"), str)
        )
        if not told:
            shape = '{"decision": "approve" | "edit" | "reject", …}'
            raise Problem(422, "Invalid answer", f"the answer to {id} must be an object: {shape}")
    return answers
