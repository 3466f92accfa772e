"""The check that a success rests on: the suite on base and change, compared case by case into a Proof."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from nodes.check.execute import CheckCache, Executor
from nodes.check.facts import Facts
from nodes.check.judge import Evidence, judge, output, stopped
from nodes.check.outcomes import Outcomes, belongs
from nodes.check.suite import Suite, listing
from nodes.check.trust import NotListed, listed
from nodes.notify import Notify
from nodes.proof import Failure, Proof, Scope
from sandbox.base import Limits, Outcome, Result, Sandbox
from tools.workspace import Workspace

_LISTING_BYTES = 32_000_000
_ALONE = 4
_NOTHING = Result(exit_code=5, stdout="no tests collected", stderr="", seconds=0.0, report=())
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
    notify: Notify,
    untestable: str = "",
) -> Proof:
    """Run the suite on the snapshots `base` and `head` and say what that proves.

    Raises NoSuite when it cannot be told how tests are run, and SandboxError when they cannot be run.
    """
    facts = await asyncio.to_thread(Facts.read, workspace.path, base, head)
    roomy = max(limits.workspace_mb, facts.megabytes * 3 // 2 + 128)
    limits = replace(limits, workspace_mb=roomy, seconds=facts.suite.seconds or limits.seconds)
    executor = Executor(workspace.path, sandbox, await sandbox.identity(), limits, cache, notify)
    proved = _by_tests if facts.suite.grade == "tests" else _by_exit_code
    proof = await proved(executor, facts)
    return proof.model_copy(update={"untestable": untestable, "sensitive": list(facts.sensitive)})


async def _by_exit_code(executor: Executor, facts: Facts) -> Proof:
    """Green when the command succeeds on the change, whatever it did on the base."""
    command = facts.suite.whole()
    known = await executor.remembered(facts.base_tree, command)
    executor.sandbox.prepare(1 if known else 2)
    async with _together() as group:
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


async def _by_tests(executor: Executor, facts: Facts) -> Proof:
    """Green when no case counts against the change and the report can be believed."""
    attempt = await _attempt(
        executor, facts, facts.suite, "affected" if facts.suite.scope == "affected" else "all"
    )
    while isinstance(seen := await _look(executor, facts, attempt), Outcomes):
        if seen.usage:
            attempt = await _attempt(executor, facts, attempt.suite.plain(), attempt.scope, plain=True)
        else:
            attempt = await _attempt(executor, facts, attempt.suite, "affected", attempt.plain)
    evidence = await _apart(executor, facts, attempt, seen)
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


@dataclass(frozen=True)
class _Attempt:
    """One way to run the suite; a side without a command has no test to run."""

    suite: Suite
    scope: Scope
    plain: bool
    base_command: tuple[str, ...]
    head_command: tuple[str, ...]

    def leads_nowhere(self, base: Outcomes) -> bool:
        """True when the base shows that another way must be tried: fewer options, or fewer files."""
        if base.usage:
            return not self.plain
        beyond = base.stopped in ("timed out", "out of memory")
        return beyond and self.suite.scope == "auto" and self.scope == "all"


async def _attempt(
    executor: Executor, facts: Facts, suite: Suite, scope: Scope, plain: bool = False
) -> _Attempt:
    if scope == "all":
        return _Attempt(suite, scope, plain, suite.whole(facts.edited), suite.whole(facts.touched))
    tests = await asyncio.to_thread(facts.reached, executor.path)
    before = [path for path in tests if path in facts.base_files]
    after = [path for path in tests if path in facts.head_files]
    return _Attempt(
        suite, scope, plain, suite.only(before) if before else (), suite.only(after) if after else ()
    )


async def _look(executor: Executor, facts: Facts, attempt: _Attempt) -> Evidence | Outcomes:
    """Run everything at once. Only the base's outcomes when they show that this attempt leads nowhere."""
    known = await _known(executor, facts, attempt)
    if known and attempt.leads_nowhere(known):
        return known
    executor.sandbox.prepare(
        2 * bool(attempt.head_command) + bool(facts.fresh) + bool(facts.old) + (known is None)
    )
    async with _together() as group:
        head = group.create_task(_head(executor, facts, attempt))
        cases = group.create_task(_listing(executor, facts, attempt))
        fresh = group.create_task(_fresh(executor, facts, attempt.suite))
        old = group.create_task(_old(executor, facts, attempt.suite))
        base = known or await executor.remember("the base", facts.base, facts.base_tree, attempt.base_command)
        if attempt.leads_nowhere(base):
            for task in (head, cases, fresh, old):
                task.cancel()
            return base
    return Evidence(
        base=base,
        head=head.result(),
        listing=cases.result(),
        fresh=fresh.result(),
        old=old.result(),
        touched=frozenset(facts.touched),
        added=frozenset(facts.added),
        deleted=facts.deleted,
    )


async def _known(executor: Executor, facts: Facts, attempt: _Attempt) -> Outcomes | None:
    if not attempt.base_command:
        return Outcomes.of(_NOTHING)
    return await executor.remembered(facts.base_tree, attempt.base_command)


async def _head(executor: Executor, facts: Facts, attempt: _Attempt) -> Result:
    if not attempt.head_command:
        return _NOTHING
    return await executor.run("the change", facts.head, attempt.head_command, heard=True)


async def _listing(executor: Executor, facts: Facts, attempt: _Attempt) -> Result:
    if not attempt.head_command:
        return _NOTHING
    limits = replace(executor.limits, output_bytes=_LISTING_BYTES)
    return await executor.run("the cases of the change", facts.head, listing(attempt.head_command), limits)


async def _fresh(executor: Executor, facts: Facts, suite: Suite) -> Outcomes | None:
    if facts.fresh is None:
        return None
    return Outcomes.of(
        await executor.run("the change's tests on the base", facts.fresh, suite.only(facts.touched))
    )


async def _old(executor: Executor, facts: Facts, suite: Suite) -> Outcomes | None:
    if facts.old is None:
        return None
    return Outcomes.of(
        await executor.run("the base's tests on the change", facts.old, suite.only(facts.edited))
    )


async def _apart(executor: Executor, facts: Facts, attempt: _Attempt, evidence: Evidence) -> Evidence:
    """When the new tests bring the base down as a whole, a few of them are run there one by one.

    A base that never ends is what some changes mend; a case that is alone when the time runs out has failed.
    """
    if facts.fresh is None or evidence.fresh is None or not evidence.fresh.stopped:
        return evidence
    try:
        nodes = listed(evidence.listing)
    except NotListed:
        return evidence
    own = (evidence.base.cases or {}) if evidence.base.known else {}
    new = [case for case in nodes if case not in own and any(belongs(case, path) for path in facts.touched)]
    if not 0 < len(new) <= _ALONE:
        return evidence
    executor.sandbox.prepare(len(new))
    async with _together() as group:
        tasks = {}
        for case in new:
            command = attempt.suite.only([nodes[case]])
            tasks[case] = group.create_task(executor.run("a new test on the base", facts.fresh, command))
    cases: dict[str, Outcome] = {}
    for case, task in tasks.items():
        outcomes = Outcomes.of(task.result())
        if outcomes.stopped:
            cases[case] = "error"
        elif outcomes.cases and case in outcomes.cases:
            cases[case] = outcomes.cases[case]
    return replace(evidence, fresh=Outcomes(exit_code=1, cases=cases))


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks of which the first failure ends all, raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


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
