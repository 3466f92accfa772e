"""The branch of one tool step: permitted, carried out once, stored and told."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from langgraph.runtime import Runtime

from memory.records.intents import Intent, IntentKey
from memory.validation import valid_text
from nodes.agent.kept_changes import hold_edit
from nodes.agent.shown import CHARACTERS
from nodes.agent.siblings import Siblings
from nodes.dialogue.excerpts import cut
from nodes.event_parts import ToolStepCall
from nodes.events import ErrorReported, ToolResult
from nodes.planning.plan_reply import TOOLS_OFF
from nodes.publish import Publish, publisher
from nodes.repository import open_workspace, thread_of
from nodes.state import BranchInput, State, Step, StepResult
from nodes.tool.execution import FAILED, ToolExecution, ToolRun
from nodes.tool.permissions import Permissions, Permit, Refused
from tools.catalogue import InvalidCall, PlanTool, ToolOutput
from tools.policy import PolicyError

UNCERTAIN = "it may have happened before the process ended"
"""The reason for which a step waits until somebody is asked whether it runs again."""


class IntentStore(Protocol):
    """Stores what a tool is about to do, and then its result."""

    async def get(self, key: IntentKey) -> Intent | None: ...

    async def begin(self, key: IntentKey, tool: str, params: Mapping[str, Any]) -> None: ...

    async def finish(self, key: IntentKey, result: Mapping[str, Any]) -> Intent: ...


@dataclass(frozen=True)
class ToolBranch:
    """Carries out one tool step. A step that fails becomes a result, which the planner may plan around.

    The intent is stored before the effect and the result after it, so that a resume repeats no effect.
    """

    execution: ToolExecution
    permissions: Permissions
    intents: IntentStore
    siblings: Siblings = field(default_factory=Siblings)
    enabled: bool = True

    async def __call__(self, state: BranchInput, runtime: Runtime[None]) -> State:
        """Return the step's result: its output, with a snapshot if it changed files. May interrupt."""
        async with self.siblings.join(state["run"]):
            return {"results": [await self._result(state, runtime)]}

    async def _result(self, state: BranchInput, runtime: Runtime[None]) -> StepResult:
        step = state["step"]
        result = StepResult(step_id=step["id"], base=state["head"], agent="tool")
        publish = publisher(runtime.stream_writer, "tool", step["id"])
        try:
            if not self.enabled:
                raise Refused(TOOLS_OFF)
            await self.execution.mcp.prepare(step.get("tool_name"))
            call = self._read(step.get("tool_name"), step.get("tool_params"))
            told = await self._once(call, state, thread_of(runtime), publish)
            return cast(StepResult, result | told)
        except (InvalidCall, Refused, PolicyError) as error:
            # Other steps may wait for days, and who watches must know of this one before.
            publish(ToolResult(tool=_shown_name(step), stdout="", stderr=f"{error}\n", returncode=FAILED))
            return result | {"blocked": str(error)}

    def _read(self, name: Any, params: Any) -> PlanTool:
        return self.execution.mcp.read_call(name, params)

    async def _once(
        self, call: PlanTool, state: BranchInput, thread: str, publish: Publish
    ) -> dict[str, Any]:
        """Carry out the step, unless a process did before this one. Raises Refused, PolicyError."""
        key = IntentKey(state["run"], state["step"]["id"], state.get("attempt", 0))
        if stored := await self.intents.get(key):
            if stored.result is not None:
                return _told(stored, publish)
            # A node must not ask twice, so the step comes again as an attempt of its own, which asks.
            if self._read(stored.tool, stored.params).effect == "outside":
                publish(
                    ErrorReported(message=f"{UNCERTAIN}, and is asked about after this group", kind="warning")
                )
                return {"blocked": UNCERTAIN, "again": True}
        permit = await self._permit(call, state, thread)
        await self.intents.begin(key, permit.call.name, permit.call.parameters())
        began = time.monotonic()
        run = await self.execution.run(permit.call, state, thread, permit.named, publish)
        result = _stored(run, permit, round(time.monotonic() - began, 3))
        stored = await self.intents.finish(key, result)
        if run.snapshot != state["head"]:
            name = f"{state['step']['id']}-edit"
            workspace = await open_workspace(state)
            publish(await asyncio.to_thread(hold_edit, workspace, thread, name, state["head"], run.snapshot))
        return _told(stored, publish)

    async def _permit(self, call: PlanTool, state: BranchInput, thread: str) -> Permit:
        """Return the permit. A step that is done again, as its changes did not merge, keeps its own."""
        workspace = await open_workspace(state)
        if attempt := state.get("attempt", 0):
            before = await self.intents.get(IntentKey(state["run"], state["step"]["id"], attempt - 1))
            if before:
                call = self._read(before.tool, before.params)
                if before.result is not None:
                    return Permit(call, "approved before, for this step", named=True)
                return await self.permissions.permit_again(call, workspace, state, thread, before.begun)
        return await self.permissions.permit(call, workspace, state, thread)


def _shown_name(step: Step) -> str:
    return valid_text(str(step.get("tool_name")))[:100]


def _stored(run: ToolRun, permit: Permit, seconds: float) -> dict[str, Any]:
    output = run.output
    return {
        "output": {
            "stdout": valid_text(output.stdout),
            "stderr": valid_text(output.stderr),
            "returncode": output.returncode,
        },
        "snapshot": run.snapshot,
        "message": run.message,
        "by": permit.by,
        "command": list(permit.call.arguments()),
        "seconds": seconds,
    }


def _told(intent: Intent, publish: Publish) -> dict[str, Any]:
    """Publish a stored result, and return the part of the step's result that it makes."""
    stored = intent.result or {}
    output = ToolOutput.model_validate(stored["output"])
    call = ToolStepCall(
        params=dict(intent.params),
        command=stored["command"],
        seconds=stored["seconds"],
        permitted_by=stored["by"],
    )
    publish(ToolResult(tool=intent.tool, call=call, **output.model_dump()))
    # The state is stored after every step, and prompts show no more than this.
    shown = {"stdout": cut(output.stdout, CHARACTERS), "stderr": cut(output.stderr, CHARACTERS)}
    result: dict[str, Any] = {"output": shown | {"returncode": output.returncode}}
    if stored["message"]:
        result["message"] = stored["message"]
    if output.returncode:
        last = (output.stderr.strip() or output.stdout.strip()).splitlines()[-1:]
        reason = f"{intent.tool} ended with exit code {output.returncode}"
        result["blocked"] = ": ".join([reason, *last])[:500]
    else:  # a failed step changes nothing
        result["snapshot"] = stored["snapshot"]
    return result
