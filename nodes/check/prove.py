"""The check that a success rests on: the suite on base and change, compared case by case into a Proof."""

import asyncio
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nodes.check.change import Facts
from nodes.check.executor import CheckCache, Executor, together
from nodes.check.judge import judge, output, stopped
from nodes.check.suite_runs import Trial
from nodes.events import Payload
from nodes.proof import Failure, Proof
from sandbox.base import Limits, Sandbox
from tools.workspace import Workspace

__all__ = ["CheckCache", "compare", "prove"]

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
    """Run the suite on the snapshots `base` and `head` and say what that proves.

    `notify` is called with the type and data of each event.
    Raises NoSuite when it cannot be told how tests are run, and SandboxError when they cannot be run.
    """

    def publish(payload: Payload) -> None:
        notify(payload.type, payload.model_dump())

    facts = await asyncio.to_thread(Facts.read, workspace.path, base, head)
    roomy = max(limits.workspace_mb, facts.megabytes * 3 // 2 + 128)
    limits = replace(limits, workspace_mb=roomy, seconds=facts.suite.seconds or limits.seconds)
    executor = Executor(workspace.path, sandbox, await sandbox.identity(), limits, cache, publish)
    proved = _by_tests if facts.suite.grade == "tests" else _by_exit_code
    proof = await proved(executor, facts)
    return proof.model_copy(update={"untestable": untestable, "sensitive": list(facts.sensitive)})


async def _by_tests(executor: Executor, facts: Facts) -> Proof:
    """Green when no case counts against the change and the report can be believed."""
    attempt, evidence = await Trial(executor, facts).run()
    judgement = judge(evidence, executor.limits)
    unreached = [] if attempt.head_command else [_UNREACHED.format(seconds=executor.limits.seconds)]
    return Proof(
        base=facts.base,
        head=facts.head,
        tree=facts.head_tree,
        backend=executor.sandbox.name,
        image=executor.image,
        command=list(attempt.head_command),
        exit_code=evidence.head.exit_code,
        baseline="known" if evidence.base.known else "unknown",
        scope=attempt.scope,
        green=not judgement.problems,
        cases=judgement.cases,
        problems=unreached + judgement.problems,
        failures=judgement.failures,
        vacuous=judgement.vacuous,
        contradicted=judgement.contradicted,
    )


async def _by_exit_code(executor: Executor, facts: Facts) -> Proof:
    """Green when the command succeeds on the change, whatever it did on the base."""
    command = facts.suite.whole()
    known = await executor.remembered(facts.base_tree, command)
    executor.sandbox.prepare(1 if known else 2)
    async with together() as group:
        running = group.create_task(executor.run("the change", facts.head, command, heard=True))
        before = known or await executor.remember("the base", facts.base, facts.base_tree, command)
    result = running.result()
    problems, failures = [], []
    if result.exit_code != 0 or stopped(result, executor.limits):
        then = before.stopped or f"ended with exit code {before.exit_code}"
        why = stopped(result, executor.limits) or f"ended with exit code {result.exit_code}"
        problems = [f"{shlex.join(command)} {why} (on the base it {then})"]
        failures = [Failure(id=shlex.join(command), text=output(result))]
    return Proof(
        base=facts.base,
        head=facts.head,
        tree=facts.head_tree,
        grade="exit code",
        backend=executor.sandbox.name,
        image=executor.image,
        command=list(command),
        exit_code=result.exit_code,
        baseline="unknown" if before.stopped else "known",
        green=not problems,
        problems=problems,
        failures=failures,
    )


def compare(recorded: Proof, again: Proof) -> list[str]:
    """How a proof that was run again differs from the recorded one, in words; empty when it holds."""
    told = [
        f"{name}: {before} was recorded, {after} now"
        for name, before, after in (
            ("tree", recorded.tree, again.tree),
            ("grade", recorded.grade, again.grade),
            ("scope", recorded.scope, again.scope),
            ("exit code", recorded.exit_code, again.exit_code),
            ("green", recorded.green, again.green),
        )
        if before != after
    ]
    then = {case.id: case for case in recorded.cases}
    now = {case.id: case for case in again.cases}
    for case in sorted(then.keys() | now.keys()):
        for side, name in (("base", "base"), ("head", "change")):
            before = getattr(then.get(case), side, "absent")
            after = getattr(now.get(case), side, "absent")
            if before != after:
                told.append(f"{case} on the {name}: {before} was recorded, {after} now")
    return told
