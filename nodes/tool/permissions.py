"""Permission for a tool step: from the policy, from an earlier answer, or from a human who is asked."""

import asyncio
import hashlib
import json
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nodes.dialogue.answers import HumanAnswer, ask
from nodes.dialogue.replies import Unusable
from nodes.environment.preparation import ConsentStore
from nodes.state import BranchInput, options_of
from nodes.tool.installation import Installation
from nodes.tool.remote_work import destination
from tools.catalogue import InvalidCall, PlanTool, read_call
from tools.catalogue.remote_tools import GitPull, GitPush
from tools.policy import Policy, PolicyError, Ruling, decide, repository_policy
from tools.workspace import Workspace

CONFIG = ".autocode.toml"

MAY_HAVE_HAPPENED = (
    "this may have happened already: the process ended after the tool began, at {begun}, and nobody stored "
    "its result. Approve to do it again, or reject to leave it"
)


class Refused(Exception):
    """A human or the policy refused a call. The text says who, and why."""


@dataclass(frozen=True)
class Permit:
    """A call that may run. `by` says why. `named` is true if somebody agreed to these very parameters."""

    call: PlanTool
    by: str
    named: bool = False


@dataclass(frozen=True)
class Permissions:
    """Decides on calls. A call that needs a human interrupts the run, before any effect.

    `shared` is true if others than the user may answer. What uses the user's logins must be allowed by the
    policy then.
    """

    consents: ConsentStore
    installation: Installation
    policy: Policy = field(default_factory=Policy)
    read: Callable[[Any, Any], PlanTool] = read_call
    shared: bool = False

    async def permit(self, call: PlanTool, workspace: Workspace, state: BranchInput, thread: str) -> Permit:
        """Return the permit of a call, or of the call that a human put in its place.

        Raises Refused, InvalidCall for a call that cannot be carried out, and PolicyError for a policy of the
        repository that cannot be read.
        """
        theirs = await asyncio.to_thread(_policies, workspace, state["base"], thread)
        ruling = self._allowed_or_asked(call, *theirs)
        remote = await asyncio.to_thread(destination, call, workspace)
        unseen = await self.installation.unseen(call, workspace, state)
        if not unseen:
            if ruling.permission == "allow":
                return Permit(call, ruling.reason, ruling.named)
            for scope in ("run", "repository"):
                if await self.consents.given(_key(scope, call, workspace, state, remote)):
                    return Permit(call, f"approved before, for this {scope}", named=True)
        # Nobody saw these parameters, so a tool that wants them named is told so.
        if options_of(state).auto_approve:
            return Permit(call, "--yes")
        question = _question(call, state, unseen or ruling.reason, remote)
        question |= await self.installation.preview(call, workspace, state["head"])
        answer, call = ask(question, self._follows(call, remote))
        self._allowed_or_asked(call, *theirs)  # the parameters may be new
        if answer.scope:
            about = {"kind": "tool", "tool": call.name, "params": call.parameters(), "scope": answer.scope}
            about |= {
                "command": shlex.join(call.arguments()),
                "repository": str(workspace.path),
                "run": state["run"],
                **answer.answerer(),
            }
            # An edited call may name another remote.
            remote = await asyncio.to_thread(destination, call, workspace)
            await self.consents.give(_key(answer.scope, call, workspace, state, remote), about)
        return Permit(call, "approved", named=True)

    async def allowed(self, workspace: Workspace, base: str, thread: str) -> Callable[[PlanTool], bool]:
        """Return a function that tells whether a call is allowed without a question. Raises PolicyError."""
        theirs = await asyncio.to_thread(_policies, workspace, base, thread)
        return lambda call: decide(call, self.policy, *theirs).permission == "allow"

    async def permit_again(
        self, call: PlanTool, workspace: Workspace, state: BranchInput, thread: str, begun: str
    ) -> Permit:
        """Ask about a call that may have happened. Nothing that allows calls covers that.

        Raises Refused and PolicyError, as `permit` does.
        """
        theirs = await asyncio.to_thread(_policies, workspace, state["base"], thread)
        self._allowed_or_asked(call, *theirs)
        remote = await asyncio.to_thread(destination, call, workspace)
        question = _question(call, state, MAY_HAVE_HAPPENED.format(begun=begun), remote) | {"uncertain": True}
        question |= await self.installation.preview(call, workspace, state["head"])
        _, call = ask(question, self._follows(call, remote))
        self._allowed_or_asked(call, *theirs)
        return Permit(call, "approved", named=True)

    def _allowed_or_asked(self, call: PlanTool, *theirs: Policy) -> Ruling:
        """Return the ruling of the user's policy and the repository's. Raises Refused."""
        ruling = decide(call, self.policy, *theirs)
        if ruling.permission == "deny":
            raise Refused(f"{call.name} is denied ({ruling.reason})")
        if self.shared and ruling.permission == "ask" and isinstance(call, GitPull | GitPush):
            raise Refused(
                f"{call.name} would use the logins of the user who runs this server, which others may use. "
                f'That user can allow it with {call.name} = "allow" in the policy'
            )
        return ruling

    def _follows(self, call: PlanTool, remote: str) -> Callable[[HumanAnswer], tuple[HumanAnswer, PlanTool]]:
        """Return a function that returns an answer with the call that it means.

        It raises Refused, and Unusable for parameters that are not valid.
        """

        def follow(answer: HumanAnswer) -> tuple[HumanAnswer, PlanTool]:
            if answer.decision == "reject":
                raise Refused(f"refused: {answer.reason}" if answer.reason else "refused by the user")
            # The run may have waited for days.
            if answer.remote and answer.remote != remote:
                was = f"the remote was {answer.remote} when this was approved"
                raise Refused(f"{was}, and is {remote or 'gone'} now")
            if answer.decision == "approve":
                return answer, call
            try:
                return answer, self.read(call.name, answer.params)
            except InvalidCall as error:
                raise Unusable(str(error)) from error

        return follow


def _policies(workspace: Workspace, base: str, thread: str) -> list[Policy]:
    """Return the repository's policies that count. Raises PolicyError. Blocks.

    No change must loosen the policy that it runs under. The base of a thread's later run holds the changes of
    the earlier ones, so the thread's start counts as well.
    """
    start = workspace.held(thread).get("start", base)
    snapshots = dict.fromkeys((start, base))
    return [repository_policy(_config(workspace, each), CONFIG) for each in snapshots]


def _config(workspace: Workspace, snapshot: str) -> str | None:
    text = workspace.text(snapshot, CONFIG)
    if text is None and workspace.read(snapshot, CONFIG) is not None:
        raise PolicyError(f"{CONFIG} is not UTF-8; save it as UTF-8")
    return text


def _question(call: PlanTool, state: BranchInput, reason: str, remote: str) -> dict[str, Any]:
    question = {
        "kind": "tool",
        "tool": call.name,
        "params": call.parameters(),
        "command": shlex.join(call.arguments()),
        "effect": call.effect,
        "reason": reason,
        "step": state["step"]["description"],
    }
    return question | ({"remote": remote} if remote else {})


def _key(scope: str, call: PlanTool, workspace: Workspace, state: BranchInput, remote: str) -> str:
    """Return the key of a consent to this very call, and to the address that its remote has now."""
    # Another clone may push elsewhere under the same names.
    place = state["run"] if scope == "run" else os.path.realpath(workspace.path)
    parts = ["tool", scope, place, call.name, call.parameters(), *([remote] if remote else [])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
