"""The graph node `sandbox`, which checks the run's head beside its base."""

import asyncio
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from langgraph.runtime import Runtime

from memory.calls.budget import BudgetSpent
from nodes.check.execution.executor import CheckCache
from nodes.check.execution.package_sandboxes import PackageSandboxes
from nodes.check.prove import prove
from nodes.check.tryout import WithinTime, always
from nodes.environment.preparation import Preparation
from nodes.events import PAYLOADS, CheckFinished, ErrorReported
from nodes.proof import FAILED, Proof
from nodes.publish import Publish, publisher
from nodes.state import ProvedState, State, options_of
from sandbox.base import Limits
from tools.workspace import Workspace


@dataclass(frozen=True)
class Check:
    """Checks the head beside the base, and stops the run after a repair that changed nothing."""

    preparation: Preparation
    cache: CheckCache
    limits: Limits
    within_time: WithinTime = always

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the check, with a `stop` if the last repair had no effect, or if the run's time is up.

        Interrupts the run if the change needs an environment of its own, which a human must approve.
        """
        try:
            async with self.within_time(state["run"], options_of(state)):
                return await self._check(state, publisher(runtime.stream_writer, "sandbox"))
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}

    async def _check(self, state: State, publish: Publish) -> State:
        options = options_of(state)
        workspace = await asyncio.to_thread(Workspace.open, Path(state["repo"]))
        packages = await PackageSandboxes.prepare(
            self.preparation,
            workspace,
            state["base"],
            state["head"],
            publish,
            yes=options.auto_approve,
            without=state.get("without_environment", ""),
        )
        proof = await prove(
            workspace,
            packages,
            state["base"],
            state["head"],
            limits=self.limits,
            seconds=options.sandbox_seconds,
            cache=self.cache,
            notify=lambda type, data: publish(PAYLOADS[type].model_validate(data)),
            untestable=state["untestable"],
        )
        publish(_event(proof))
        fallback = state.get("fallback")
        if fallback and _spoils(proof, Proof.model_validate(fallback["check"])):
            return _return_to(fallback, proof, publish)
        # Equal if the same cases fail in the same way, because problems and outputs are normalised.
        parts = [proof.problems, [failure.model_dump() for failure in proof.failures]]
        failure = "" if proof.green else sha256(json.dumps(parts).encode()).hexdigest()
        checked: State = {"check": proof.model_dump(), "failure": failure, "vacuous": proof.vacuous}
        checked["fallback"] = None
        if failure and failure == state["failure"] and _repair_was_idle(state, proof):
            reason = "the last repair changed nothing: the tests fail in the same way as before it"
            checked["stops"] = [{"kind": "unverified", "reason": reason}]
        return checked


def _event(proof: Proof) -> CheckFinished:
    return CheckFinished(
        green=proof.green,
        passed=proof.passed,
        failed=sum(case.head in FAILED for case in proof.cases),
        cases=[case.model_dump() for case in proof.cases],
        problems=proof.problems,
        gaps=proof.gaps,
        grade=proof.grade,
        command=proof.command,
        exit_code=proof.exit_code,
        tree=proof.tree,
    )


def _spoils(proof: Proof, before: Proof) -> bool:
    """Return whether further tests made a good check worse."""
    return (
        not proof.proves
        or bool(proof.gaps)
        or len(proof.contradicted) > len(before.contradicted)
        or len(proof.suspicious) > len(before.suspicious)
    )


def _return_to(fallback: ProvedState, proof: Proof, publish: Publish) -> State:
    """Leave out further tests that spoil a good check. What they showed is for the critic to read."""
    lost = proof.problems or proof.gaps or ["they make the check weaker"]
    warning = f"the tests for unguarded lines were left out: {lost[0]}"
    publish(ErrorReported(message=warning, kind="warning"))
    publish(_event(Proof.model_validate(fallback["check"])))  # readers take the last check as the result
    outputs = [f"{failure.id}\n{failure.text}" for failure in proof.failures]
    return {
        "head": fallback["head"],
        "check": fallback["check"],
        "untestable": fallback["untestable"],
        "fallback": None,
        "guards_failed": "\n\n".join([*lost, *outputs]),
    }


def _repair_was_idle(state: State, proof: Proof) -> bool:
    """Return whether the last repair kept the files as they were, or repeated the repair before it."""
    repairs, before = state["repairs"], state["check"]
    repeated = len(repairs) > 1 and repairs[-1] == repairs[-2]
    return repeated or (before is not None and before["tree"] == proof.tree)
