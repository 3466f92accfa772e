"""The node named sandbox: proves the run's head beside its base."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from langgraph.runtime import Runtime

from nodes.check.executor import CheckCache
from nodes.check.prove import prove
from nodes.events import CheckFinished, parse_payload
from nodes.proof import Proof
from nodes.publish import publisher
from nodes.state import Options, State
from sandbox.base import Limits, Sandbox
from tools.workspace import Workspace

OpenSandbox = Callable[[], Awaitable[Sandbox]]
"""Opens the process's sandbox at its first use, and gives the same one ever after."""


@dataclass(frozen=True)
class Check:
    """The node named sandbox: proves the head beside the base, and notices a repair that repaired nothing."""

    sandbox: Callable[[], Awaitable[Sandbox]]
    cache: CheckCache

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the check; `stops` when the very same tree failed in the very same way before."""
        publish = publisher(runtime.stream_writer, "sandbox")
        options = Options.model_validate(state["options"])
        proof = await prove(
            await asyncio.to_thread(Workspace.open, Path(state["repo"])),
            await self.sandbox(),
            state["base"],
            state["head"],
            limits=Limits(seconds=options.sandbox_seconds),
            cache=self.cache,
            notify=lambda type, data: publish(parse_payload(type, data)),
            untestable=state["untestable"],
        )
        failed = sum(case.head in ("failed", "error") for case in proof.cases)
        publish(
            CheckFinished(
                green=proof.green,
                passed=proof.passed,
                failed=failed,
                cases=[case.model_dump() for case in proof.cases],
                problems=proof.problems,
                tree=proof.tree,
            )
        )
        failure = "" if proof.green else _digest(proof)
        checked: State = {"check": proof.model_dump(), "failure": failure, "vacuous": proof.vacuous}
        if failure and failure == state["failure"] and _in_vain(state, proof):
            reason = "the last repair changed nothing: the tests fail in the same way as before it"
            checked["stops"] = [{"kind": "unverified", "reason": reason}]
        return checked


def _digest(proof: Proof) -> str:
    """Names a failure: equal where the same cases fail in the same way."""
    failures = [failure.model_dump() for failure in proof.failures]
    return sha256(json.dumps([proof.problems, failures]).encode()).hexdigest()


def _in_vain(state: State, proof: Proof) -> bool:
    """Whether the last repair left the files as they were, or was the one before it once more."""
    repairs, before = state["repairs"], state["check"]
    repeated = len(repairs) > 1 and repairs[-1] == repairs[-2]
    return repeated or (before is not None and before["tree"] == proof.tree)
