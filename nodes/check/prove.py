"""Proofs: the suite on base and change, compared case by case."""

import asyncio
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nodes.check.change import CheckedChange
from nodes.check.executor import CheckCache, Executor
from nodes.check.exit_code.definition import changed_definition
from nodes.check.exit_code.exit_code_check import check_by_exit_code
from nodes.check.judge import Evidence, judge
from nodes.check.mutation.trial import try_mutants
from nodes.check.outcomes import Outcomes
from nodes.check.shared_tree import SharedTree
from nodes.check.suite_runs import SuiteRuns
from nodes.check.unrun.gaps import UnrunTests
from nodes.events import Payload
from nodes.proof import Proof
from sandbox.base import Limits, Sandbox
from tools.workspace import Workspace

_UNREACHED = "no test file imports what the change touches, and only affected tests run: {reason}"
_DEFINED = (
    "not verified: the change edits {path}, which says what the test command runs ({command}); "
    "look at the diff, then take it with `autocode apply`"
)
_IRREVOCABLE = "not verified: the base's tests cannot run on the change ({reason})"


async def prove(
    workspace: Workspace,
    sandbox: Sandbox,
    base: str,
    head: str,
    *,
    limits: Limits,
    cache: CheckCache,
    notify: Callable[[str, Mapping[str, Any]], None],
    untestable: str = "",
) -> Proof:
    """Run the suite on the snapshots `base` and `head`, and return the proof.

    `notify` receives the type and data of each event. `untestable` is the tester's reason for no new test.
    Raises NoSuite if the repository does not say how its tests run, and SandboxError if they cannot run.
    """

    def publish(payload: Payload) -> None:
        notify(payload.type, payload.model_dump())

    change = await asyncio.to_thread(CheckedChange.read, workspace.path, base, head)
    # Tests write beside the files: half as much again, and 128 MB for small repositories.
    workspace_mb = max(limits.workspace_mb, change.megabytes * 3 // 2 + 128)
    limits = replace(limits, workspace_mb=workspace_mb, seconds=change.suite.seconds or limits.seconds)
    by_grade = _by_tests if change.suite.grade == "tests" else check_by_exit_code
    image = await sandbox.identity()
    async with SharedTree.of(change, workspace.path, sandbox, limits) as tree:
        executor = Executor(workspace.path, sandbox, image, limits, cache, publish, tree)
        result = await by_grade(executor, change)
    result["gaps"] = [*await asyncio.to_thread(_definition_gaps, workspace, change), *result.get("gaps", ())]
    return Proof(
        base=base,
        head=head,
        tree=change.head_tree,
        grade=change.suite.grade,
        backend=sandbox.name,
        image=image,
        suspicious=list(change.suspicious),
        untestable=untestable,
        green=not result["problems"],
        **result,
    )


async def _by_tests(executor: Executor, change: CheckedChange) -> dict[str, Any]:
    """Judge by cases. Green if no case counts against the change and the report can be believed."""
    began = time.monotonic()
    attempt, evidence = await SuiteRuns(executor, change).run()
    judgement = judge(evidence, executor.limits)
    unreached = [] if attempt.head_command else [_UNREACHED.format(reason=attempt.scope_reason)]
    unrun = await asyncio.to_thread(_unrun, executor.path, change, evidence)
    judged = (
        vars(judgement)
        | unrun
        | {
            "command": list(attempt.head_command),
            "exit_code": evidence.head.exit_code,
            "baseline": "known" if evidence.base.known else "unknown",
            "baseline_reason": _baseline_reason(evidence.base, executor.limits),
            "scope": attempt.scope,
            "scope_reason": attempt.scope_reason,
            "problems": unreached + judgement.problems,
        }
    )
    if judged["problems"]:
        return judged
    seconds = time.monotonic() - began
    tried = await try_mutants(
        executor,
        change,
        attempt.suite,
        evidence.head,
        seconds,
        judgement.cases,
        evidence.new_on_base,
        evidence.unsteady,
    )
    return judged | tried.fields(judgement.cases, judgement.vacuous)


def _unrun(path: Path, change: CheckedChange, evidence: Evidence) -> dict[str, Any]:
    """Return the test modules that do not run, and what remains unverified for that. Blocks."""
    unrun = UnrunTests(Workspace.open(path), change, evidence.base, Outcomes.of(evidence.head))
    return {"uncollected": unrun.modules, "gaps": unrun.gaps()}


def _baseline_reason(base: Outcomes, limits: Limits) -> str:
    """Return why the base's cases are unknown."""
    if base.known:
        return ""
    if base.stopped == "timed out":
        return f"the tests of the base did not end within {limits.seconds:g} s"
    if base.stopped == "out of memory":
        return f"the tests of the base did not fit into {limits.memory_mb} MB of memory"
    where = f"{base.file}: " if base.file else ""
    what = (
        f"were killed, exit code {base.exit_code}"
        if base.stopped
        else f"ended with exit code {base.exit_code}"
    )
    return f"the tests of the base {what}" + (f" ({where}{base.reason})" if base.reason else "")


def _definition_gaps(workspace: Workspace, change: CheckedChange) -> list[str]:
    """Return why a changed definition of the test command proves nothing. Blocks."""
    changed = changed_definition(workspace, change.suite, change.base, change.head, change.changed)
    command = "pytest" if change.suite.grade == "tests" else shlex.join(change.suite.command)
    return [_DEFINED.format(path=path, command=command) for path in changed] + (
        [_IRREVOCABLE.format(reason=change.irrevocable)] if change.irrevocable else []
    )
