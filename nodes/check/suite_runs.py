"""The runs of a suite on base and change, side by side.

If the whole suite takes too long, only the tests that the change affects run.
"""

import asyncio
from dataclasses import dataclass, replace

from nodes.check.base_tests.old_tests import OldTests
from nodes.check.change import CheckedChange
from nodes.check.evidence import Evidence
from nodes.check.executor import Executor, task_group
from nodes.check.outcomes import Outcomes
from nodes.check.report_check import ListingError, parse_listing
from nodes.check.suite import Suite, listing
from nodes.check.unrun.shared_causes import ChangedFiles
from nodes.proof import Scope
from sandbox.base import ReportOutcome, Result
from tools.workspace import Workspace

_LISTING_BYTES = 32_000_000  # a cut list would not hold every case
_MOST_ALONE = 4
_ASKED = 'scope = "affected" under [test] in .autocode.toml asks for it'
_SLOW = (
    "the whole suite does not end within {seconds:g} s on the base; "
    "a higher `timeout` under [test] in .autocode.toml lets it run"
)
_LARGE = "the whole suite does not fit into {memory} MB of memory on the base"


@dataclass(frozen=True)
class Attempt:
    """The commands of one attempt to run the suite, empty for a side without tests.

    `plain` is true for a suite without its configured plugins.
    """

    suite: Suite
    scope: Scope
    plain: bool
    base_command: tuple[str, ...]
    head_command: tuple[str, ...]
    scope_reason: str = ""

    def fails_on(self, base: Outcomes) -> bool:
        """Return whether the base's outcomes ask for another attempt, with fewer options or fewer files."""
        if not self.suite.is_pytest:
            return False
        if base.usage:
            return not self.plain
        beyond_limits = base.stopped in ("timed out", "out of memory")
        return beyond_limits and self.suite.scope == "auto" and self.scope == "all"


@dataclass(frozen=True)
class SuiteRuns:
    """Runs a suite and collects the evidence for one check."""

    executor: Executor
    change: CheckedChange

    async def run(self) -> tuple[Attempt, Evidence]:
        """Try until base and change can be compared."""
        suite = self.change.suite
        attempt = await self._attempt(suite, "affected" if suite.scope == "affected" else "all")
        while isinstance(seen := await self._run_attempt(attempt), Outcomes):
            if seen.usage:
                plain = await self._attempt(attempt.suite.plain(), attempt.scope, plain=True)
                attempt = replace(plain, scope_reason=attempt.scope_reason)
            else:
                limits = self.executor.limits
                reason = (_SLOW if seen.stopped == "timed out" else _LARGE).format(
                    seconds=limits.seconds, memory=limits.memory_mb
                )
                affected = await self._attempt(attempt.suite, "affected", attempt.plain)
                attempt = replace(affected, scope_reason=reason)
        return attempt, await self._with_cases_alone(attempt, seen)

    async def _attempt(self, suite: Suite, scope: Scope, plain: bool = False) -> Attempt:
        change = self.change
        if scope == "all":
            return Attempt(suite, scope, plain, suite.whole(change.edited), suite.whole(change.new_tests))
        workspace = await asyncio.to_thread(Workspace.open, self.executor.path)
        affected = await asyncio.to_thread(change.affected_tests, workspace, change.changed)
        tests = sorted({*affected, *change.near_data})
        sides = (
            [path for path in tests if path in files] for files in (change.base_files, change.head_files)
        )
        base, head = (suite.only(paths) if paths else () for paths in sides)
        return Attempt(suite, scope, plain, base, head, _ASKED if suite.scope == "affected" else "")

    async def _run_attempt(self, attempt: Attempt) -> Evidence | Outcomes:
        """Run everything at once. Return only the base's outcomes if the attempt fails."""
        change, only = self.change, attempt.suite.only
        known = await self.executor.cached(change.base_tree, attempt.base_command)
        if known and attempt.fails_on(known):
            return known
        both = (change.base_with_new_tests, change.head_with_old_tests)
        old_tests = OldTests(self.executor, change, attempt.suite, attempt.base_command)
        runs = (attempt.head_command, attempt.head_command, *both, known is None)
        self.executor.sandbox.prepare(sum(map(bool, runs)))
        async with task_group() as group:
            head = group.create_task(self._head(attempt))
            cases = group.create_task(self._listing(attempt))
            new_on_base = group.create_task(
                self._outcomes("the change's tests on the base", both[0], only(change.new_tests))
            )
            old_on_head = group.create_task(old_tests.run())
            base = known or await self.executor.run_base(change.base, change.base_tree, attempt.base_command)
            if attempt.fails_on(base):
                for task in (head, cases, new_on_base, old_on_head):
                    task.cancel()  # they take the sandbox's time for nothing
                return base
        result = head.result()
        slow = base.known and base.seconds > self.executor.limits.seconds / 2
        if attempt.scope == "all" and result.timed_out and slow:
            # The runs side by side slowed each other down, so the change gets a second try alone.
            result = await self._head(attempt)
            if result.timed_out and attempt.suite.scope == "auto" and attempt.suite.is_pytest:
                return base.model_copy(update={"stopped": "timed out"})
        head_outcomes = self.executor.outcomes(result)
        return Evidence(
            base=base,
            head=result,
            listing=cases.result(),
            new_on_base=await self._new_by_file(new_on_base.result()),
            old_on_head=await old_tests.settle(old_on_head.result(), base, head_outcomes),
            new_tests=frozenset(change.new_tests),
            added=frozenset(change.added),
            deleted=change.deleted,
            files=ChangedFiles.of(change.changed, change.base_files | change.head_files),
            tests=frozenset(filter(attempt.suite.is_test, change.base_files | change.head_files)),
            runner=attempt.suite.runner,
        )

    async def _head(self, attempt: Attempt) -> Result:
        command = attempt.head_command
        return await self.executor.run("the change", self.change.head, command, publish_output=True)

    async def _listing(self, attempt: Attempt) -> Result:
        limits = replace(self.executor.limits, output_bytes=_LISTING_BYTES)
        lists = attempt.suite.is_pytest and attempt.head_command
        command = listing(attempt.head_command) if lists else ()
        executor = replace(self.executor, limits=limits)
        return await executor.run("the cases of the change", self.change.head, command)

    async def _outcomes(self, what: str, snapshot: str | None, command: tuple[str, ...]) -> Outcomes | None:
        return self.executor.outcomes(await self.executor.run(what, snapshot, command)) if snapshot else None

    async def _new_by_file(self, together: Outcomes | None) -> Outcomes | None:
        """Return what new tests do on the base, file by file if one of them keeps the others from running."""
        change, runner = self.change, self.change.suite.runner
        alone = change.new_tests[:_MOST_ALONE]
        if (
            runner is None
            or not runner.chooses_files
            or together is None
            or together.cases
            or together.exit_code == 0
        ):
            return together
        if len(change.new_tests) < 2 or len(alone) < len(change.new_tests) or together.stopped:
            return together
        cases: dict[str, ReportOutcome] = {}
        for path in alone:
            command = runner.only([path])
            seen = await self._outcomes("a new test on the base", change.base_with_new_tests, command)
            if seen and seen.cases is not None and not seen.stopped:
                cases |= seen.cases
            else:
                cases[f"::{path}"] = "error"
        return Outcomes.joined(cases, runner.name)

    async def _with_cases_alone(self, attempt: Attempt, evidence: Evidence) -> Evidence:
        """Run a few new cases one by one on the base if there, together, they did not come to an end.

        A change may mend an endless loop. A case that does not end alone has failed on the base.
        """
        snapshot, together = self.change.base_with_new_tests, evidence.new_on_base
        listed_alone = attempt.suite.is_pytest and together and together.stopped
        if snapshot is None or not listed_alone:
            return evidence
        try:
            listed = parse_listing(evidence.listing)
        except ListingError:
            return evidence
        nodes = {case: node for case, node in listed.items() if evidence.is_new(case)}
        if not 0 < len(nodes) <= _MOST_ALONE:
            return evidence
        self.executor.sandbox.prepare(len(nodes))  # starts the sandboxes side by side
        async with task_group() as group:
            tasks = [
                group.create_task(
                    self.executor.run("a new test on the base", snapshot, attempt.suite.only([node]))
                )
                for node in nodes.values()
            ]
        cases: dict[str, ReportOutcome] = {}
        for case, task in zip(nodes, tasks, strict=True):
            outcomes = self.executor.outcomes(task.result())
            if outcomes.stopped:
                cases[case] = "error"
            elif outcomes.cases and case in outcomes.cases:
                cases[case] = outcomes.cases[case]
        return replace(evidence, new_on_base=Outcomes(exit_code=1, cases=cases))
