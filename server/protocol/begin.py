"""From a request to a run: a new one, or the thread's waiting or broken-off one gone on with."""

import re
from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from graph.settings import Settings
from graph.supervisor import Strategy, Supervisor
from nodes.state import Input
from server.api.problems import Problem
from server.api.schemas import Begun, place
from server.protocol.assistants import known
from server.protocol.projection import MODES, UNSERVED_MODES
from server.protocol.state import at
from server.protocol.wire import RunBody, RunInput, modes_of, not_served

KEPT = "agent_protocol"
"""The key in a run's metadata under which its stream modes are kept, for readers that join it later."""
INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")


async def begin(supervisor: Supervisor, settings: Settings, body: RunBody, thread_id: str | None) -> Begun:
    """Submit or resume what `body` asks for, durably; where no thread is named, on a new one."""
    known(body.assistant_id)
    modes = checked_modes(body.stream_mode)
    journal = supervisor.journal
    thread = await journal.threads.get(thread_id) if thread_id else None
    if thread_id and thread is None and body.if_not_exists == "reject":
        raise no_thread(thread_id)
    thread_id = thread_id or str(uuid4())
    await check_newest(supervisor, thread_id, body.wanted_checkpoint)
    after = (await journal.events.ends([thread_id])).get(thread_id, 0)
    if body.command and body.command.resume is not None:
        answers = await _answers(supervisor, thread_id, body.command.resume)
        return Begun(await supervisor.resume(thread_id, answers), after)
    if body.input is None:
        return Begun(await supervisor.resume(thread_id), after)
    given = await _placed(supervisor, settings, thread_id, body.input)
    usual: Strategy = "interrupt" if thread and thread.status == "waiting" else "enqueue"
    strategy = body.multitask_strategy or usual
    metadata = body.metadata | {KEPT: {"stream_mode": modes, "multitask_strategy": strategy}}
    return Begun(await supervisor.submit(given, thread_id, strategy=strategy, metadata=metadata), after)


def checked_modes(given: list[str] | str) -> list[str]:
    """The stream modes asked for; a Problem for one that is unknown or not served."""
    modes = modes_of(given)
    if unserved := [mode for mode in modes if mode in UNSERVED_MODES]:
        raise not_served(*(f"stream_mode {mode}" for mode in unserved))
    if unknown := [mode for mode in modes if mode not in MODES]:
        detail = f"there is no stream mode {', '.join(unknown)}; there are {', '.join(MODES)}"
        raise Problem(422, "Invalid request", detail)
    return modes


def no_thread(thread_id: str) -> Problem:
    """The refusal of a thread that is not there."""
    return Problem(404, "No such thread", f"there is no thread {thread_id}; POST /threads makes one")


async def _answers(supervisor: Supervisor, thread_id: str, resume: Any) -> Mapping[str, Mapping[str, Any]]:
    """`resume` as answers by id: it is a map of them, or the one answer to the one question."""
    if isinstance(resume, Mapping) and resume and all(INTERRUPT_ID.fullmatch(str(key)) for key in resume):
        answers = dict(resume)
    else:
        pending = [one.id for one in await supervisor.pending(thread_id)]
        if len(pending) != 1:
            detail = f"{len(pending)} interrupts wait on this thread"
            hint = f"answer by their ids: {', '.join(pending)}" if pending else "there is nothing to answer"
            raise Problem(422 if pending else 409, "Not one interrupt", f"{detail}; {hint}")
        answers = {pending[0]: resume}
    for id, answer in answers.items():
        if not isinstance(answer, Mapping) or not isinstance(answer.get("decision"), str):
            shape = '{"decision": "approve" | "edit" | "reject", …}'
            raise Problem(422, "Invalid answer", f"the answer to {id} must be an object: {shape}")
    return answers


async def check_newest(supervisor: Supervisor, thread_id: str, wanted: str | None) -> None:
    """Refuse a checkpoint that is not the thread's newest: work on an earlier one is done on a fork."""
    newest = at(await supervisor.history.state(thread_id)) if wanted else None
    if wanted and (newest is None or wanted != newest["checkpoint_id"]):
        raise not_served(f"an earlier checkpoint ({wanted}) on the same thread: fork the thread there")


async def _placed(supervisor: Supervisor, settings: Settings, thread_id: str, given: RunInput) -> Input:
    """The input with the place that it may work in."""
    files = given.context_files or []
    repo, files = await place(supervisor, settings, thread_id, given.repo, files)
    rest = given.model_dump(exclude={"repo", "context_files"})
    return cast(Input, rest | {"repo": repo, "context_files": files})
