"""The runs of a suite on base and change, side by side.

If the whole suite takes too long, only the tests that the change affects run.
"""

import asyncio
from dataclasses import dataclass, replace

from nodes.check.base_tests.old_tests import OldTests, is_believable
from nodes.check.change import CheckedChange
from nodes.check.execution.attempt import Attempt
from nodes.check.execution.evidence import Evidence
from nodes.check.execution.executor import Executor, change_limits, is_tight, task_group
from nodes.check.execution.folders_without_tests import folders_without_tests
from nodes.check.execution.origins import changed_modules, watching
from nodes.check.judge import chance_failures
from nodes.check.outcomes import Outcomes
from nodes.check.report_check import ListingError, parse_listing
from nodes.check.suites.suite import Suite, listing
from nodes.check.unrun.shared_causes import MORE_MEMORY, ChangedFiles
from nodes.proof import FAILED, Scope
from sandbox.base import ReportOutcome, Result

_LISTING_BYTES = 32_000_000  # a cut list would not hold every case
_MOST_ALONE = 4
_QUICK_SUITE = 60.0  # seconds that a whole suite may take to be run again for a failed case
_MOST_REFUSALS = 6  # attempts with fewer options each, before all are left out
_ASKED = 'scope = "affected" under [test] in .autocode.toml asks for it'
_SLOW = (
    "the whole suite does not end within {seconds:g} s on the base; "
    "a higher `timeout` under [test] in .autocode.toml lets it run"
)
_LARGE = f"the whole suite does not fit into {{memory}} MB of memory on the base; {MORE_MEMORY}"


@dataclass(frozen=True)
class SuiteRuns:
    """Runs a suite and collects the evidence for one check."""

    executor: Executor
    change: CheckedChange
    program_seconds: float
    """Time limit of one program, below which no suite's limit falls."""

    async def run(self) -> tuple[Attempt, Evidence]:
        """Try until base and change can be compared."""
        # The base comes first, as its time sets the limits of all else. Mostly the tryout has cached it.
        attempt, base = await self.run_base()
        while True:
            attempt = await self._narrowed(attempt, base)
            limits = change_limits(self.executor.limits, self.program_seconds, base)
            runs = replace(self, executor=replace(self.executor, limits=limits))
            if isinstance(seen := await runs._run_attempt(attempt, base), Evidence):
                attempt = replace(attempt, limits=limits)
                return attempt, await runs._with_cases_alone(attempt, seen)
            attempt, base = await self.run_base(await self._next(attempt, seen))

    async def run_base(self, attempt: Attempt | None = None) -> tuple[Attempt, Outcomes]:
        """Run the suite on the base, with fewer options or fewer files until it runs as it can here."""
        change = self.change
        if attempt is None:
            asked = change.suite.scope == "affected"
            attempt = await self._attempt(change.suite, "affected" if asked else "all")
        while True:
            command = attempt.base_command
            base = await self.executor.cached(change.base_tree, command)
            base = base or await self.executor.run_base(change.base, change.base_tree, command)
            if not attempt.fails_on(base):
                return attempt, base
            attempt = await self._next(attempt, base)

    async def _narrowed(self, attempt: Attempt, base: Outcomes) -> Attempt:
        """Return the attempt without a walk over folders that hold no test."""
        # Another environment may have other plugins, which collect other files.
        if attempt.scope != "all" or not attempt.suite.is_pytest or self.executor.on_base:
            return attempt
        workspace, change = await asyncio.to_thread(self.executor.workspace), self.change
        folders = await asyncio.to_thread(folders_without_tests, workspace, change, base)
        return attempt.of_whole(replace(attempt.suite, without_tests=folders), change)

    async def _next(self, attempt: Attempt, seen: Outcomes) -> Attempt:
        """Return the attempt after one that failed on the base."""
        if seen.refusal:
            refusals = attempt.refusals + 1
            fewer = attempt.suite.without(seen.refusal) if refusals <= _MOST_REFUSALS else None
            suite = fewer or attempt.suite.plain()
            new = await self._attempt(suite, attempt.scope, plain=fewer is None)
            return replace(new, scope_reason=attempt.scope_reason, refusals=refusals)
        limits = self.executor.limits
        reason = (_SLOW if seen.stopped == "timed out" else _LARGE).format(
            seconds=limits.seconds, memory=limits.memory_mb
        )
        affected = await self._attempt(attempt.suite, "affected", attempt.plain)
        return replace(affected, scope_reason=reason)

    async def _attempt(self, suite: Suite, scope: Scope, plain: bool = False) -> Attempt:
        change = self.change
        if scope == "all":
            return Attempt(suite, scope, plain).of_whole(suite, change)
        workspace = await asyncio.to_thread(self.executor.workspace)
        affected = await asyncio.to_thread(change.affected_tests, workspace, change.changed)
        tests = sorted({*affected, *change.near_data})
        sides = (
            [path for path in tests if path in files] for files in (change.base_files, change.head_files)
        )
        base, head = (suite.only(paths) if paths else () for paths in sides)
        return Attempt(suite, scope, plain, base, head, _ASKED if suite.scope == "affected" else "")

    async def _run_attempt(self, attempt: Attempt, base: Outcomes) -> Evidence | Outcomes:
        """Run everything beside the base at once. Return only its outcomes if the whole suite is too slow."""
        change, only = self.change, attempt.suite.only
        both = (change.base_with_new_tests, change.head_with_old_tests)
        old_tests = OldTests(self.executor, change, attempt.suite, attempt.base_command)
        self.executor.sandbox.prepare(sum(map(bool, (attempt.head_command, attempt.head_command, *both))))
        async with task_group() as group:
            head = group.create_task(self._head(attempt))
            cases = group.create_task(self._listing(attempt))
            new_on_base = group.create_task(
                self._outcomes("the change's tests on the base", both[0], only(change.proving_tests))
            )
            old_on_head = group.create_task(old_tests.run())
            edited_on_base = group.create_task(self._edited_on_base(attempt.suite, base))
        result = head.result()
        if attempt.scope == "all" and result.timed_out and is_tight(self.executor.limits, base):
            # The runs side by side slowed each other down, so the change gets a second try alone.
            result = await self._head(attempt)
            if result.timed_out and attempt.suite.scope == "auto" and attempt.suite.is_pytest:
                return base.model_copy(update={"stopped": "timed out"})
        files, tests = await asyncio.to_thread(self._named, attempt.suite)
        evidence = Evidence(
            base=base,
            head=result,
            listing=cases.result(),
            new_on_base=await self._new_by_file(new_on_base.result()),
            edited_on_base=edited_on_base.result(),
            new_tests=frozenset(change.proving_tests),
            added=frozenset(change.added),
            deleted=change.deleted,
            tests_untouched=both[1] is None and not change.irrevocable,
            files=files,
            tests=tests,
            runner=attempt.suite.runner,
        )
        evidence = await self._with_failures_alone(attempt, evidence)
        old = await old_tests.settle(old_on_head.result(), base, evidence.head_outcomes)
        return replace(evidence, old_on_head=old)

    def _named(self, suite: Suite) -> tuple[ChangedFiles, frozenset[str]]:
        """Return what the change's names tell, and the tests. A large repository takes a while."""
        names = self.change.base_files | self.change.head_files
        return ChangedFiles.of(self.change.changed, names), frozenset(filter(suite.is_test, names))

    async def _with_failures_alone(self, attempt: Attempt, evidence: Evidence) -> Evidence:
        """Run a few cases that fail on the change once more, without other runs beside them.

        Tests that measure time fail at times when the machine is busy. A quick suite runs whole, because a
        case may fail for what the change does in the tests before it. What fails again in a quick suite runs
        on the base once more, as the machine may have been quiet when the base was seen.
        """
        head, report = evidence.head, evidence.head.report
        if report is None or not (failing := chance_failures(evidence)):
            return evidence
        tests = sorted(evidence.tests & self.change.head_files)
        files = [path for path in tests if any(evidence.is_case_of(case, path) for case in failing)]
        command = attempt.head_command
        if head.seconds > _QUICK_SUITE and files:
            command = attempt.suite.only(files)
        again = self.executor.outcomes(
            await self.executor.run("the failed cases alone", self.change.head, command)
        )
        passed = tuple(case for case in failing if again.of_case(case) == "passed")
        if passed and is_believable(again):
            report = tuple(
                replace(case, outcome="passed", message="") if case.id in passed else case for case in report
            )
            exit_code = 1 if any(case.outcome in FAILED for case in report) else 0
            head = replace(head, report=report, exit_code=exit_code)
            evidence = replace(evidence, head=head, unsteady=passed)
        failed = [case for case in failing if again.of_case(case) in FAILED]
        return await self._with_base_again(attempt, evidence, failed if head.seconds <= _QUICK_SUITE else [])

    async def _with_base_again(self, attempt: Attempt, evidence: Evidence, failing: list[str]) -> Evidence:
        """Run the base once more if cases fail on the change that passed on it."""
        base = evidence.base
        lost = [case for case in failing if base.of_case(case) == "passed"]
        if not lost:
            return evidence
        side = self.executor.on_base or self.executor
        command = attempt.base_command
        again = side.outcomes(await side.run("the failed cases on the base", self.change.base, command))
        failed = tuple(case for case in lost if again.of_case(case) in FAILED)
        cases = (base.cases or {}) | dict.fromkeys(failed, "failed")
        base = base.model_copy(update={"cases": cases})
        return replace(evidence, base=base, unsteady=(*evidence.unsteady, *failed))

    async def _head(self, attempt: Attempt) -> Result:
        command = attempt.head_command
        return await self.executor.run("the change", self.change.head, command, publish_output=True)

    async def _listing(self, attempt: Attempt) -> Result:
        limits = replace(self.executor.limits, output_bytes=_LISTING_BYTES)
        lists = attempt.suite.is_pytest and attempt.head_command
        command = listing(attempt.head_command) if lists else ()
        if self.executor.has_environment:
            command = watching(command, changed_modules(self.change) | self.executor.watched)
        executor = replace(self.executor, limits=limits)
        return await executor.run("the cases of the change", self.change.head, command)

    async def _outcomes(self, what: str, snapshot: str | None, command: tuple[str, ...]) -> Outcomes | None:
        return self.executor.outcomes(await self.executor.run(what, snapshot, command)) if snapshot else None

    async def _edited_on_base(self, suite: Suite, base: Outcomes) -> Outcomes | None:
        """Run the base's version of edited test files if the suite did not end on the base.

        Only so is it known which of their cases are new.
        """
        edited = [path for path in self.change.proving_tests if path in self.change.base_files]
        if not base.stopped or not edited or (suite.runner and not suite.runner.chooses_files):
            return None
        return await self._outcomes(
            "the edited tests as the base has them", self.change.base, suite.only(edited)
        )

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
