"""Base and change, run side by side: whole, or what the change reaches where the whole takes too long."""

import asyncio
from dataclasses import dataclass, replace

from nodes.check.change import Facts
from nodes.check.executor import Executor, together
from nodes.check.judge import Evidence
from nodes.check.outcomes import Outcomes, belongs
from nodes.check.report_check import NotListed, listed
from nodes.check.suite import Suite, listing
from nodes.proof import Scope
from sandbox.base import Outcome, Result

_LISTING_BYTES = 32_000_000
_ALONE = 4
_NOTHING = Result(exit_code=5, stdout="no tests collected", stderr="", seconds=0.0, report=())


@dataclass(frozen=True)
class Attempt:
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


@dataclass(frozen=True)
class Trial:
    """Gathers the evidence for one check of a suite of pytest's."""

    executor: Executor
    facts: Facts

    async def run(self) -> tuple[Attempt, Evidence]:
        """Try until an attempt's outcomes can be compared."""
        suite = self.facts.suite
        attempt = await self._attempt(suite, "affected" if suite.scope == "affected" else "all")
        while isinstance(seen := await self._look(attempt), Outcomes):
            if seen.usage:
                attempt = await self._attempt(attempt.suite.plain(), attempt.scope, plain=True)
            else:
                attempt = await self._attempt(attempt.suite, "affected", attempt.plain)
        return attempt, await self._apart(attempt, seen)

    async def _attempt(self, suite: Suite, scope: Scope, plain: bool = False) -> Attempt:
        facts = self.facts
        if scope == "all":
            return Attempt(suite, scope, plain, suite.whole(facts.edited), suite.whole(facts.touched))
        tests = await asyncio.to_thread(facts.reached, self.executor.path)
        before = [path for path in tests if path in facts.base_files]
        after = [path for path in tests if path in facts.head_files]
        base, head = (suite.only(paths) if paths else () for paths in (before, after))
        return Attempt(suite, scope, plain, base, head)

    async def _look(self, attempt: Attempt) -> Evidence | Outcomes:
        """Run everything at once. Only the base's outcomes when this attempt leads nowhere."""
        facts = self.facts
        known = await self._known(attempt)
        if known and attempt.leads_nowhere(known):
            return known
        needed = (attempt.head_command, attempt.head_command, facts.fresh, facts.old, known is None)
        self.executor.sandbox.prepare(sum(map(bool, needed)))
        async with together() as group:
            head = group.create_task(self._head(attempt))
            cases = group.create_task(self._listing(attempt))
            fresh = group.create_task(self._fresh(attempt))
            old = group.create_task(self._old(attempt))
            base = known or await self._base(attempt)
            if attempt.leads_nowhere(base):
                for task in (head, cases, fresh, old):
                    task.cancel()
                return base
        result = head.result()
        if attempt.scope == "all" and result.timed_out and self._is_close(base):
            result = await self._head(attempt)
            if result.timed_out and attempt.suite.scope == "auto":
                return base.model_copy(update={"stopped": "timed out"})
        return Evidence(
            base=base,
            head=result,
            listing=cases.result(),
            fresh=fresh.result(),
            old=old.result(),
            touched=frozenset(facts.touched),
            added=frozenset(facts.added),
            deleted=facts.deleted,
        )

    def _is_close(self, base: Outcomes) -> bool:
        """True when the base's suite ended not long before its limit; side by side is slower than alone."""
        return base.known and base.seconds > self.executor.limits.seconds / 2

    async def _known(self, attempt: Attempt) -> Outcomes | None:
        if not attempt.base_command:
            return Outcomes.of(_NOTHING)
        return await self.executor.remembered(self.facts.base_tree, attempt.base_command)

    async def _base(self, attempt: Attempt) -> Outcomes:
        facts = self.facts
        return await self.executor.remember("the base", facts.base, facts.base_tree, attempt.base_command)

    async def _head(self, attempt: Attempt) -> Result:
        if not attempt.head_command:
            return _NOTHING
        return await self.executor.run("the change", self.facts.head, attempt.head_command, heard=True)

    async def _listing(self, attempt: Attempt) -> Result:
        if not attempt.head_command:
            return _NOTHING
        limits = replace(self.executor.limits, output_bytes=_LISTING_BYTES)
        command = listing(attempt.head_command)
        return await self.executor.run("the cases of the change", self.facts.head, command, limits)

    async def _fresh(self, attempt: Attempt) -> Outcomes | None:
        if self.facts.fresh is None:
            return None
        command = attempt.suite.only(self.facts.touched)
        return Outcomes.of(
            await self.executor.run("the change's tests on the base", self.facts.fresh, command)
        )

    async def _old(self, attempt: Attempt) -> Outcomes | None:
        if self.facts.old is None:
            return None
        command = attempt.suite.only(self.facts.weighed)
        return Outcomes.of(await self.executor.run("the base's tests on the change", self.facts.old, command))

    async def _apart(self, attempt: Attempt, evidence: Evidence) -> Evidence:
        """When the new tests bring the base down as a whole, a few of them are run there one by one.

        A base that never ends is what some changes mend; a case that is alone when time runs out has failed.
        """
        facts = self.facts
        if facts.fresh is None or evidence.fresh is None or not evidence.fresh.stopped:
            return evidence
        nodes = _new_nodes(evidence)
        if not 0 < len(nodes) <= _ALONE:
            return evidence
        self.executor.sandbox.prepare(len(nodes))
        async with together() as group:
            tasks = {}
            for case, node in nodes.items():
                command = attempt.suite.only([node])
                running = self.executor.run("a new test on the base", facts.fresh, command)
                tasks[case] = group.create_task(running)
        cases: dict[str, Outcome] = {}
        for case, task in tasks.items():
            outcomes = Outcomes.of(task.result())
            if outcomes.stopped:
                cases[case] = "error"
            elif outcomes.cases and case in outcomes.cases:
                cases[case] = outcomes.cases[case]
        return replace(evidence, fresh=Outcomes(exit_code=1, cases=cases))


def _new_nodes(evidence: Evidence) -> dict[str, str]:
    """The node ids of the cases that the change brings, by their ids in the report."""
    try:
        nodes = listed(evidence.listing)
    except NotListed:
        return {}
    own = (evidence.base.cases or {}) if evidence.base.known else {}
    files = evidence.touched if evidence.base.known else evidence.added
    return {
        case: node
        for case, node in nodes.items()
        if case not in own and any(belongs(case, path) for path in files)
    }
