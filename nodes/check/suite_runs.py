"""The runs of a suite on base and change, side by side.

If the whole suite takes too long, only the tests that the change affects run.
"""

import asyncio
from dataclasses import dataclass, replace

from nodes.check.base_tests.old_tests import OldTests, is_believable
from nodes.check.change import CheckedChange
from nodes.check.executor import Executor, task_group
from nodes.check.judge import Evidence, chance_failures
from nodes.check.outcomes import FAILED, Outcomes, is_case_of
from nodes.check.report_check import ListingError, parse_listing
from nodes.check.suite import Suite, listing
from nodes.check.unrun.shared_causes import ChangedFiles
from nodes.proof import Scope
from sandbox.base import ReportOutcome, Result
from tools.workspace import Workspace

_LISTING_BYTES = 32_000_000  # a cut list would not hold every case
_MOST_ALONE = 4
_QUICK_SUITE = 60.0  # seconds that a whole suite may take to be run again for a failed case
_MOST_REFUSALS = 6  # attempts with fewer options each, before all are left out
_ASKED = 'scope = "affected" under [test] in .autocode.toml asks for it'
_SLOW = (
    "the whole suite does not end within {seconds:g} s on the base; "
    "a higher `timeout` under [test] in .autocode.toml lets it run"
)
_LARGE = "the whole suite does not fit into {memory} MB of memory on the base"


@dataclass(frozen=True)
class Attempt:
    """The commands of one attempt to run the suite, empty for a side without tests.

    `plain` is true for a suite without any option of its configuration.
    """

    suite: Suite
    scope: Scope
    plain: bool
    base_command: tuple[str, ...]
    head_command: tuple[str, ...]
    scope_reason: str = ""

    def fails_on(self, base: Outcomes) -> bool:
        """Return whether the base's outcomes ask for another attempt, with fewer options or fewer files."""
        if base.refusal:
            return not self.plain
        beyond_limits = base.stopped in ("timed out", "out of memory")
        return beyond_limits and self.suite.scope == "auto" and self.scope == "all"


@dataclass(frozen=True)
class SuiteRuns:
    """Runs a pytest suite and collects the evidence for one check."""

    executor: Executor
    change: CheckedChange

    async def run(self) -> tuple[Attempt, Evidence]:
        """Try until base and change can be compared."""
        suite = self.change.suite
        attempt = await self._attempt(suite, "affected" if suite.scope == "affected" else "all")
        refusals = 0
        while isinstance(seen := await self._run_attempt(attempt), Outcomes):
            if seen.refusal:
                refusals += 1
                fewer = attempt.suite.without(seen.refusal) if refusals <= _MOST_REFUSALS else None
                suite = fewer or attempt.suite.plain()
                next_one = await self._attempt(suite, attempt.scope, plain=fewer is None)
                attempt = replace(next_one, scope_reason=attempt.scope_reason)
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
                self._outcomes("the change's tests on the base", both[0], only(change.proving_tests))
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
            if result.timed_out and attempt.suite.scope == "auto":
                return base.model_copy(update={"stopped": "timed out"})
        evidence = Evidence(
            base=base,
            head=result,
            listing=cases.result(),
            new_on_base=new_on_base.result(),
            new_tests=frozenset(change.proving_tests),
            added=frozenset(change.added),
            deleted=change.deleted,
            tests_untouched=both[1] is None and not change.irrevocable,
            files=ChangedFiles.of(change.changed, change.base_files | change.head_files),
        )
        evidence = await self._with_failures_alone(attempt, evidence)
        old = await old_tests.settle(old_on_head.result(), base, Outcomes.of(evidence.head))
        return replace(evidence, old_on_head=old)

    async def _with_failures_alone(self, attempt: Attempt, evidence: Evidence) -> Evidence:
        """Run a few cases that fail on the change once more, without other runs beside them.

        Tests that measure time fail at times when the machine is busy. A quick suite runs whole, because a
        case may fail for what the change does in the tests before it.
        """
        head, report = evidence.head, evidence.head.report
        if report is None or not (failing := chance_failures(evidence)):
            return evidence
        tests = sorted(path for path in self.change.head_files if self.change.suite.is_test(path))
        files = [path for path in tests if any(is_case_of(case, path) for case in failing)]
        command = attempt.head_command
        if head.seconds > _QUICK_SUITE and files:
            command = attempt.suite.only(files)
        again = Outcomes.of(await self.executor.run("the failed cases alone", self.change.head, command))
        passed = tuple(case for case in failing if again.of_case(case) == "passed")
        if not passed or not is_believable(again):
            return evidence
        cases = tuple(
            replace(case, outcome="passed", message="") if case.id in passed else case for case in report
        )
        exit_code = 1 if any(case.outcome in FAILED for case in cases) else 0
        return replace(evidence, head=replace(head, report=cases, exit_code=exit_code), unsteady=passed)

    async def _head(self, attempt: Attempt) -> Result:
        command = attempt.head_command
        return await self.executor.run("the change", self.change.head, command, publish_output=True)

    async def _listing(self, attempt: Attempt) -> Result:
        limits = replace(self.executor.limits, output_bytes=_LISTING_BYTES)
        command = listing(attempt.head_command) if attempt.head_command else ()
        executor = replace(self.executor, limits=limits)
        return await executor.run("the cases of the change", self.change.head, command)

    async def _outcomes(self, what: str, snapshot: str | None, command: tuple[str, ...]) -> Outcomes | None:
        return Outcomes.of(await self.executor.run(what, snapshot, command)) if snapshot else None

    async def _with_cases_alone(self, attempt: Attempt, evidence: Evidence) -> Evidence:
        """Run a few new cases one by one on the base if there, together, they did not come to an end.

        A change may mend an endless loop. A case that does not end alone has failed on the base.
        """
        snapshot, together = self.change.base_with_new_tests, evidence.new_on_base
        if snapshot is None or together is None or not together.stopped:
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
            outcomes = Outcomes.of(task.result())
            if outcomes.stopped:
                cases[case] = "error"
            elif outcomes.cases and case in outcomes.cases:
                cases[case] = outcomes.cases[case]
        return replace(evidence, new_on_base=Outcomes(exit_code=1, cases=cases))
