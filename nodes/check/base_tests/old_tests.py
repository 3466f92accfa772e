"""The run of the base's tests on the change."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from nodes.check.change import CheckedChange
from nodes.check.execution.executor import Executor, is_tight, task_group
from nodes.check.outcomes import Outcomes, module_of, owners_of
from nodes.check.parameters import paired_ids
from nodes.check.runners.runner import Runner
from nodes.check.suites.suite import Suite
from nodes.proof import FAILED
from sandbox.base import ReportOutcome

OLD_RUN = "the base's tests on the change"

_ALONE = 6
_TOGETHER = 2


def contradictions(base: Outcomes, old: Outcomes | None) -> list[str]:
    """Return the cases that passed on the base and do not pass with the base's tests on the change."""
    if old is None or not old.known or not base.known:
        return []
    before, after = base.cases or {}, old.cases or {}
    varying = paired_ids(before.keys() - after.keys(), after.keys() - before.keys())
    passed = (case for case, outcome in before.items() if outcome == "passed")
    return sorted(
        case for case in passed if old.of_case(varying.get(case, case)) in (*FAILED, "absent", "skipped")
    )


@dataclass(frozen=True)
class OldTests:
    """Runs the base's tests on the change, with the command that ran them on the base."""

    executor: Executor
    change: CheckedChange
    suite: Suite
    command: tuple[str, ...]

    async def run(self) -> Outcomes | None:
        """Return the outcomes, None if the change touches nothing of the base's tests."""
        snapshot = self.change.head_with_old_tests
        if snapshot is None or not self.command:
            return None
        return self.executor.outcomes(await self.executor.run(OLD_RUN, snapshot, self.command))

    async def settle(self, old: Outcomes | None, base: Outcomes, head: Outcomes) -> Outcomes | None:
        """Return outcomes that can be compared with the base's, None if that is not possible.

        If the run did not come to its end, the test files run one by one. A case fails by chance at times, so
        a case of a test file that the change leaves alone must fail twice.
        """
        if old is None or not base.known or not head.known:
            return None
        if old.stopped == "timed out" and is_tight(self.executor.limits, base):
            old = await self.run() or old  # the runs side by side slowed each other down
        if not is_believable(old):
            return await self._by_files(base)
        touched = {*self.change.edited, *self.change.deleted}
        files = self._files(contradictions(base, old))
        surprising = [
            case
            for path, cases in files.items()
            for case in cases
            if path not in touched and head.of_case(case) == "passed"
        ]
        again = await self.run() if surprising else None
        if again is None or not is_believable(again):
            return old
        passed: dict[str, ReportOutcome] = {
            case: "passed" for case in surprising if again.of_case(case) == "passed"
        }
        return old.model_copy(update={"cases": (old.cases or {}) | passed})

    async def _by_files(self, base: Outcomes) -> Outcomes:
        """Run the test files apart. The cases of a file that does not come to its end are errors."""
        files = self._files(case for case, outcome in (base.cases or {}).items() if outcome == "passed")
        unknown = files.pop("", [])
        touched = [path for path in files if path in (*self.change.edited, *self.change.deleted)]
        if (runner := self.suite.runner) and not runner.chooses_files:
            fates = {case: path in touched for path, cases in files.items() for case in cases}
            held: dict[str, ReportOutcome] = {
                case: "error" if fails else "passed" for case, fails in fates.items()
            }
            return Outcomes.joined(held | dict.fromkeys(unknown, "passed"), runner.name)
        rest = [*touched[_ALONE:], *(path for path in files if path not in touched)]
        batches = [[path] for path in touched[:_ALONE]] + [rest[at::_TOGETHER] for at in range(_TOGETHER)]
        batches = [batch for batch in batches if batch]
        self.executor.sandbox.prepare(len(batches))
        async with task_group() as group:
            runs = [
                group.create_task(
                    self.executor.run(OLD_RUN, self.change.head_with_old_tests or "", self.suite.only(batch))
                )
                for batch in batches
            ]
        # Cases of no test file, such as examples in documents, have no run of their own.
        cases: dict[str, ReportOutcome] = dict.fromkeys(unknown, "passed")
        for batch, run in zip(batches, runs, strict=True):
            outcomes = self.executor.outcomes(run.result())
            if is_believable(outcomes):
                cases |= outcomes.cases or {}
            else:
                cases |= {case: "error" for path in batch for case in files[path]}
        return Outcomes.joined(cases, self.executor.runner)

    def _files(self, cases: Iterable[str]) -> dict[str, list[str]]:
        """Return the cases by test file of the base, those of other files under an empty path."""
        if self.suite.runner:
            return _files_of(cases, self.change, self.suite.runner)
        modules = {module_of(path): path for path in self.change.base_tests}
        files: dict[str, list[str]] = defaultdict(list)
        for case in cases:
            path = next((modules[owner] for owner in owners_of(case) if owner in modules), "")
            files[path].append(case)
        return files


def _files_of(cases: Iterable[str], change: CheckedChange, runner: Runner) -> dict[str, list[str]]:
    """Return the cases by test file. Where several files may hold a case, a changed one does."""
    touched = {*change.edited, *change.deleted}
    paths = sorted(change.base_tests, key=lambda path: (path not in touched, path))
    owners: dict[str, str] = {}
    files: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        owner = case.partition("::")[0] or case
        if owner not in owners:
            owners[owner] = next((path for path in paths if runner.is_case_of(case, path)), "")
        files[owners[owner]].append(case)
    return files


def is_believable(outcomes: Outcomes) -> bool:
    """Return whether a run came to its end and its exit code agrees with its cases."""
    if outcomes.runner:
        return outcomes.known and bool(outcomes.cases)
    fails = any(outcome in FAILED for outcome in (outcomes.cases or {}).values())
    return outcomes.known and outcomes.exit_code == (1 if fails else 5 if not outcomes.cases else 0)
