"""The trial of a change's mutants: new and affected tests run on each, in parallel and in little time."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from nodes.check.change import CheckedChange
from nodes.check.execution.executor import Executor, task_group
from nodes.check.mutation.missing_names import lacks_name
from nodes.check.mutation.mutants import MOST, Mutant, changed_sources, choose, is_source, merge
from nodes.check.outcomes import Outcomes, module_of, owners_of
from nodes.check.suites.suite import Suite
from nodes.proof import FAILED, CaseProof, Strength, Unguarded
from sandbox.base import Case, Result, SandboxError
from sandbox.program import MAX_PROGRAMS
from tools.workspace import Workspace

_TIMES = 2  # what the check has taken: the time for all mutants
_SLOWER = 3  # than on the change: a mutant whose tests take longer hangs
_LEAST_SECONDS = 5.0
_HOLLOW_SECONDS = 30.0  # at least, as this run decides: whoever does not end by then noticed what is broken
_QUICK_SUITE = 2.0  # seconds
_QUICK_COMMAND = 10.0  # seconds that a command may take whose exit code is all that it tells


@dataclass(frozen=True)
class Prepared:
    """The mutants of a change. `hollow` holds all its files, broken at once, None if they are too many.

    `whole` is true if the change edits nothing besides these sources, tests and documents.
    """

    mutants: list[Mutant] = field(default_factory=list)
    hollow: Mapping[str, str] | None = None
    tests: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class MutationResult:
    """The parts of a proof that follow from a trial.

    `idle` are new cases that failed on the base for want of a name alone, and notice no mutant. `guards` are
    new cases that passed on the base, and notice one.
    """

    strength: Strength | None = None
    unguarded: list[Unguarded] = field(default_factory=list)
    idle: frozenset[str] = frozenset()
    guards: frozenset[str] = frozenset()

    def fields(self, cases: Iterable[CaseProof], vacuous: Iterable[str]) -> dict[str, Any]:
        """Return the fields of a proof. `cases` and `vacuous` are those of the judgement."""
        return {
            "strength": self.strength,
            "unguarded": self.unguarded,
            "cases": [case.model_copy(update={"idle": case.id in self.idle}) for case in cases],
            "vacuous": [*(case for case in vacuous if case not in self.guards), *sorted(self.idle)],
            "guards": sorted(self.guards),
        }


async def try_mutants(
    executor: Executor,
    change: CheckedChange,
    suite: Suite,
    head: Result,
    seconds: float,
    cases: Iterable[CaseProof] = (),
    new_on_base: Outcomes | None = None,
    unsteady: Iterable[str] = (),
    passing: Iterable[str] = (),
) -> MutationResult:
    """Try the mutants of a change whose check is green and took `seconds`. The base may switch it off."""
    if not change.suite.mutants:
        return MutationResult()
    proving = frozenset(case.id for case in cases if case.fail_to_pass)
    nameless = frozenset(id for id in proving if new_on_base and new_on_base.is_nameless(id))
    trial = Trial(executor, change, suite, head, nameless, proving, frozenset(unsteady), frozenset(passing))
    return await trial.run(_TIMES * seconds)


@dataclass
class Trial:
    """Runs tests on mutants. `head` is the run of the same suite on the change.

    `nameless` are the new cases whose failure on the base was only a missing name. The first run breaks
    everything at once and decides on them. `proving` are all new cases that fail on the base. `unsteady`
    cases fail by chance, and their failure says nothing about a mutant. `passing` are new cases that passed
    on the base.
    """

    executor: Executor
    change: CheckedChange
    suite: Suite
    head: Result
    nameless: frozenset[str] = frozenset()
    proving: frozenset[str] = frozenset()
    unsteady: frozenset[str] = frozenset()
    passing: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        passed = {case.id for case in self.head.report or () if case.outcome == "passed"}
        self._passed = passed - self.unsteady
        self._failed = {case.id for case in self.head.report or () if case.outcome in FAILED} | self.unsteady
        self._noticing: set[str] = set()
        self._unnoticing: set[str] = set()
        self._guards: set[str] = set()
        self._seen: dict[str, set[int]] = {case: set() for case in self.nameless}
        self._expected = self._passed
        self._killed: dict[int, bool] = {}

    async def run(self, seconds: float) -> MutationResult:
        """Try as many mutants as `seconds` allow, in their order."""
        prepared = await asyncio.to_thread(self._prepare)
        if not prepared.mutants and not prepared.hollow:
            return MutationResult()
        programs = min(MAX_PROGRAMS, max(len(prepared.mutants), 1))
        self.executor.sandbox.prepare(programs)
        if prepared.hollow:
            await self._run_hollow(prepared.hollow)
        runs = self._runs(prepared, seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), task_group() as group:
                for _ in range(programs):
                    group.create_task(_work(runs))
        return self._result(prepared)

    def _prepare(self) -> Prepared:
        workspace = self.executor.workspace()
        change = self.change
        paths = [path for path in change.changed if is_source(path) and not change.suite.is_test(path)]
        sources = changed_sources(workspace, change.base, change.head, paths)
        largest = sorted(sources, key=lambda source: (-source.novel, source.path))[:MOST]
        if self.suite.grade == "exit code":
            quick = self.head.seconds < _QUICK_COMMAND
            return Prepared(choose(largest, kinds=("hunk",)) if quick else [])
        mutants = choose(largest)
        hollow = None
        if self.nameless | self.passing and len(largest) == len(sources):
            texts = {source.path: source.hollow() for source in largest}
            hollow = {path: text for path, text in texts.items() if text is not None}
        return Prepared(
            mutants,
            hollow,
            self._tests(workspace, {mutant.file for mutant in mutants}),
            {path for path in self.change.changed if not self.change.is_of_tests(path)}
            <= {source.path for source in largest} | set(filter(_is_document, self.change.changed)),
        )

    def _tests(self, workspace: Workspace, files: Collection[str]) -> tuple[str, ...]:
        """Return the test files to run, the new ones first, because they are likely to notice.

        Some tests start the product as a program and import nothing of it, so a quick suite runs whole.
        """
        if self.head.seconds < _QUICK_SUITE:
            tests = sorted(path for path in self.change.head_files if self.suite.collects(path))
        else:
            tests = self.change.affected_tests(workspace, files)
        new = self.change.proving_tests
        if runner := self.suite.runner:
            owners = {case.id.rpartition("::")[0]: case.id for case in self.head.report or ()}
            paths = (*new, *sorted({*tests} - {*new}))
            return tuple(
                path for path in paths if any(runner.is_case_of(case, path) for case in owners.values())
            )
        modules = {name for case in self.head.report or () for name in owners_of(case.id)}
        return tuple(path for path in (*new, *sorted({*tests} - {*new})) if module_of(path) in modules)

    async def _run_hollow(self, texts: Mapping[str, str]) -> None:
        """Run the new tests where every changed function returns nothing. It must tell, so it has time."""
        what = "all mutants at once: every changed function returns nothing"
        limit = max(self._limit(0), _HOLLOW_SECONDS)
        result = await Run(self, 0, what, texts, self.suite.only(self.change.proving_tests), limit)()
        if result.timed_out:
            self._noticing |= self.nameless
            self._guards |= self.passing

    def _runs(self, prepared: Prepared, seconds: float) -> "Iterator[Run]":
        self._expected = self._passed & {case.id for case in self._cases_of(prepared.tests)}
        command = self.suite.only(prepared.tests) if prepared.tests else self.suite.whole()
        limit = self._limit(seconds, prepared.tests)
        for number, mutant in enumerate(prepared.mutants, start=1):
            what = f"mutant {number} of {len(prepared.mutants)}: {mutant}"
            yield Run(self, number, what, {mutant.file: mutant.text}, command, limit)

    def _limit(self, seconds: float, tests: tuple[str, ...] = ()) -> float:
        """Return the time limit of a run, from the time that the same tests took on the change."""
        beside = sum(case.seconds for case in self.head.report or ())
        beside -= sum(case.seconds for case in self._cases_of(tests))
        taken = max(self.head.seconds - beside, 0.0)
        # Half of all the time there is, so that a mutant that hangs can be seen to.
        return max(_SLOWER * taken, min(_LEAST_SECONDS, seconds / 2))

    def _cases_of(self, tests: tuple[str, ...]) -> list[Case]:
        """Return the cases on the change of these test files, all cases without files."""
        cases = self.head.report or ()
        if (runner := self.suite.runner) and tests:
            return [case for case in cases if any(runner.is_case_of(case.id, path) for path in tests)]
        modules = {module_of(path) for path in tests}
        return [case for case in cases if not modules or not modules.isdisjoint(owners_of(case.id))]

    def stop_option(self, number: int) -> tuple[str, ...]:
        """Return the option that ends a run at its first new failure, unless every case must tell."""
        if not self.suite.is_pytest or number == 0 or self.nameless - self._noticing:
            return ()
        return (f"--maxfail={len(self._failed) + 1}",)

    def record(self, number: int, result: Result) -> None:
        """Record the result of a run. Run 0 broke everything at once, and decides on cases alone."""
        outcomes = self.executor.outcomes(result)
        for case in result.report or ():
            if case.id in self.passing - self.unsteady and case.outcome == "failed":
                self._guards.add(case.id)
            if case.id not in self.nameless:
                continue
            self._seen[case.id].add(number)
            if case.outcome in FAILED and not lacks_name(case.message):
                self._noticing.add(case.id)
            elif case.outcome == "passed" and number == 0:
                self._unnoticing.add(case.id)
        if number > 0:
            self._killed[number] = self._is_noticed(outcomes)

    def _is_noticed(self, run: Outcomes) -> bool:
        if self.suite.grade == "exit code":
            return bool(run.stopped) or run.exit_code != 0
        if not run.known or run.cases is None:
            return True
        failed = {case for case, outcome in run.cases.items() if outcome in FAILED}
        if failed - self._failed:
            return True
        return any(run.cases.get(case) != "passed" for case in self._expected)

    def _result(self, prepared: Prepared) -> MutationResult:
        killed = sum(self._killed.values())
        survivors = [
            mutant
            for number, mutant in enumerate(prepared.mutants, start=1)
            if self._killed.get(number) is False
        ]
        untried = len(prepared.mutants) - len(self._killed)
        strength = Strength(killed=killed, tried=len(self._killed), untried=untried) if self._killed else None
        # What fails to import while everything is broken gets its chance with each mutant. A run that ends
        # early, as on a busy machine, says nothing about its cases.
        numbers = set(range(1, len(prepared.mutants) + 1))
        tried = {case for case, seen in self._seen.items() if numbers and numbers <= seen}
        idle = (tried | self._unnoticing) - self._noticing
        all_tried = 0 < len(prepared.mutants) == len(self._killed) < MOST
        if all_tried and killed == 0 and prepared.whole:
            idle |= self.proving  # they ask for a name in a way that `lacks_name` does not know
        return MutationResult(strength, merge(survivors), frozenset(idle), frozenset(self._guards))


@dataclass(frozen=True)
class Run:
    """One run of tests on broken files."""

    trial: Trial
    number: int
    what: str
    texts: Mapping[str, str]
    command: tuple[str, ...]
    seconds: float

    async def __call__(self) -> Result:
        """Run the tests and record what they did."""
        executor = self.trial.executor
        limited = replace(executor, limits=replace(executor.limits, seconds=self.seconds))
        command = (*self.command, *self.trial.stop_option(self.number))
        result = await limited.run_edited(self.what, self.trial.change.head, self.texts, command)
        self.trial.record(self.number, result)
        return result


def _is_document(path: str) -> bool:
    return path.endswith((".md", ".rst"))


async def _work(runs: "Iterator[Run]") -> None:
    for run in runs:
        with suppress(SandboxError):  # a sandbox that fails costs no more than this run
            await run()
