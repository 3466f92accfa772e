"""Proofs: the suite on base and change, compared case by case."""

import asyncio
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nodes.check.change import CheckedChange
from nodes.check.executor import CheckCache, Executor, task_group
from nodes.check.judge import judge, output_of, stop_reason
from nodes.check.shared_tree import SharedTree
from nodes.check.suite_runs import SuiteRuns
from nodes.events import Payload
from nodes.proof import Failure, Proof
from sandbox.base import Limits, Sandbox
from tools.workspace import Workspace

_UNREACHED = (
    "no test file imports what the change touches, and the whole suite does not end within "
    "{seconds:g} s on the base; a higher `timeout` under [test] in .autocode.toml lets it run"
)


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
    by_grade = _by_tests if change.suite.grade == "tests" else _by_exit_code
    image = await sandbox.identity()
    async with SharedTree.of(change, workspace.path, sandbox, limits) as tree:
        executor = Executor(workspace.path, sandbox, image, limits, cache, publish, tree)
        result = await by_grade(executor, change)
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
    attempt, evidence = await SuiteRuns(executor, change).run()
    judgement = judge(evidence, executor.limits)
    unreached = [] if attempt.head_command else [_UNREACHED.format(seconds=executor.limits.seconds)]
    return vars(judgement) | {
        "command": list(attempt.head_command),
        "exit_code": evidence.head.exit_code,
        "baseline": "known" if evidence.base.known else "unknown",
        "scope": attempt.scope,
        "problems": unreached + judgement.problems,
    }


async def _by_exit_code(executor: Executor, change: CheckedChange) -> dict[str, Any]:
    """Judge by exit code. Green if the command succeeds on the change, whatever it did on the base."""
    command = change.suite.whole()
    known = await executor.cached(change.base_tree, command)
    executor.sandbox.prepare(1 if known else 2)
    async with task_group() as group:
        running = group.create_task(executor.run("the change", change.head, command, publish_output=True))
        base = known or await executor.run_base(change.base, change.base_tree, command)
    result = running.result()
    problems, failures = [], []
    if result.exit_code != 0 or stop_reason(result, executor.limits):
        before = base.stopped or f"ended with exit code {base.exit_code}"
        after = stop_reason(result, executor.limits) or f"ended with exit code {result.exit_code}"
        problems = [f"{shlex.join(command)} {after} (on the base it {before})"]
        failures = [Failure(id=shlex.join(command), text=output_of(result))]
    return {
        "command": list(command),
        "exit_code": result.exit_code,
        "baseline": "unknown" if base.stopped else "known",
        "problems": problems,
        "failures": failures,
    }


def compare(recorded: Proof, again: Proof) -> list[str]:
    """Return the differences of a repeated check from the recorded proof, empty if it holds."""
    differences = [
        f"{name.replace('_', ' ')}: {getattr(recorded, name)} was recorded, {getattr(again, name)} now"
        for name in ("tree", "grade", "scope", "exit_code", "green")
        if getattr(recorded, name) != getattr(again, name)
    ]
    then = {case.id: case for case in recorded.cases}
    now = {case.id: case for case in again.cases}
    for case in sorted(then.keys() | now.keys()):
        for side, label in (("base", "base"), ("head", "change")):
            before = getattr(then.get(case), side, "absent")
            after = getattr(now.get(case), side, "absent")
            if before != after:
                differences.append(f"{case} on the {label}: {before} was recorded, {after} now")
    return differences
