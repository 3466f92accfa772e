"""The tryout: the base's own suite runs while the planner works, so that its faults are known and named."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field

from langgraph.runtime import Runtime

from memory.calls.budget import BudgetSpent
from nodes.check.change import CheckedChange
from nodes.check.execution.attempt import Attempt
from nodes.check.execution.executor import CheckCache, Executor, open_executor
from nodes.check.execution.package_sandboxes import base_need
from nodes.check.execution.suite_runs import SuiteRuns
from nodes.check.outcomes import Outcomes, list_cases
from nodes.check.prove import baseline_reason, suite_limits
from nodes.check.suites.packages import Packages
from nodes.check.unrun.gaps import UnrunTests
from nodes.environment.preparation import Preparation
from nodes.events import ErrorReported
from nodes.proof import FAILED
from nodes.publish import Publish, publisher
from nodes.repository import open_workspace
from nodes.state import Options, State, options_of
from sandbox.base import Limits, SandboxError
from tools.workspace import Workspace

_MOST_MODULES = 5
_MOST_PACKAGES = 3


WithinTime = Callable[[str, Options], AbstractAsyncContextManager[None]]
"""Stops the work of a run when its time is up, with BudgetSpent."""


def always(run: str, options: Options) -> AbstractAsyncContextManager[None]:
    """Return a limit of time that never ends."""
    return nullcontext()


@dataclass(frozen=True)
class BesidePlanner:
    """The work beside the planners of runs. A task that was answered needs none of it."""

    _scopes: dict[str, asyncio.Timeout] = field(default_factory=dict)

    @asynccontextmanager
    async def until_answered(self, run: str) -> AsyncIterator[None]:
        """Run the block until its end, or until `answered` cancels it."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes[run] = scope
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scopes.pop(run, None)

    def answered(self, run: str) -> None:
        """End the work of a run."""
        if scope := self._scopes.get(run):
            scope.reschedule(asyncio.get_running_loop().time())


@dataclass(frozen=True)
class Tryout:
    """Tells what does not run on the base. Nobody is asked to mend that. The check reuses the outcomes."""

    preparation: Preparation
    cache: CheckCache
    limits: Limits
    beside: BesidePlanner = field(default_factory=BesidePlanner)
    within_time: WithinTime = always

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return nothing: the outcomes are cached, and the faults are events."""
        # The planner, whose time is up as well, ends the run.
        with suppress(BudgetSpent):
            async with (
                self.within_time(state["run"], options_of(state)),
                self.beside.until_answered(state["run"]),
            ):
                await self._try(state, runtime)
        return {}

    async def _try(self, state: State, runtime: Runtime[None]) -> None:
        publish = publisher(runtime.stream_writer, "tryout")
        workspace, base = await open_workspace(state), state["base"]
        for folder in await asyncio.to_thread(tried_packages, workspace, base):
            try:
                async with self._executor(state, workspace, folder, publish) as (executor, change):
                    faults = await _faults(executor, change, self.limits.seconds)
            except SandboxError as error:  # the check will report it, if it happens again
                faults = [f"the base could not be tried out: {error}"]
            for fault in faults:
                message = f"{folder}: {fault}" if folder else fault
                publish(ErrorReported(message=message, kind="warning"))

    @asynccontextmanager
    async def _executor(
        self, state: State, workspace: Workspace, folder: str, publish: Publish
    ) -> AsyncIterator[tuple[Executor, CheckedChange]]:
        """Open the base of a package. An environment that is not there yet leaves the bare sandbox."""
        base = state["base"]
        change = await asyncio.to_thread(CheckedChange.read, workspace.path, base, base, folder)
        ready = None
        if not state["without_environment"]:
            ready = await self.preparation.find(await base_need(self.preparation, workspace, base, folder))
        sandbox = ready.sandbox if ready else await self.preparation.sandbox()
        limits = suite_limits(change, self.limits, options_of(state).sandbox_seconds, sandbox)
        opening = open_executor(change, workspace.path, sandbox, limits, self.cache, publish)
        async with opening as executor:
            yield executor, change


def tried_packages(workspace: Workspace, base: str) -> list[str]:
    """Return the packages that are prepared before anything is changed: all if they are few. Blocks."""
    folders = Packages(workspace, base, base).all()
    return folders if len(folders) <= _MOST_PACKAGES else []


async def _faults(executor: Executor, change: CheckedChange, program_seconds: float) -> list[str]:
    """Run the base's suite, and return a sentence for each thing that does not run there."""
    suite = change.suite
    if suite.grade == "exit code":
        command = suite.whole()
        base = await executor.cached(change.base_tree, command)
        base = base or await executor.run_base(change.base, change.base_tree, command)
        return list(_faults_of_command(base, " ".join(command), executor.limits))
    attempt, base = await SuiteRuns(executor, change, program_seconds).run_base()
    workspace = await asyncio.to_thread(executor.workspace)
    modules = await asyncio.to_thread(lambda: UnrunTests(workspace, change, base, base).modules)
    told = [f"{module.file} cannot be imported on the base: {module.reason}" for module in modules]
    more = len(told) - _MOST_MODULES
    rest = [f"and {more} more test modules cannot be imported on the base"] if more > 0 else []
    return [*_faults_of_suite(attempt, base, executor.limits), *told[:_MOST_MODULES], *rest]


def _faults_of_suite(attempt: Attempt, base: Outcomes, limits: Limits) -> Iterator[str]:
    if attempt.scope_reason:
        yield attempt.scope_reason
    if not base.known:
        yield baseline_reason(base, limits)
    # A module that cannot be collected is named by its file elsewhere.
    failing = [case for case, outcome in (base.cases or {}).items() if outcome in FAILED]
    if failing := [case for case in failing if not case.startswith("::")]:
        listed = list_cases(failing, 5)
        yield f"these cases fail on the base already, and nobody is asked to mend them: {listed}"


def _faults_of_command(base: Outcomes, command: str, limits: Limits) -> Iterator[str]:
    if base.stopped:
        yield f"`{command}` {base.stopped} on the base ({limits.seconds:g} s, {limits.memory_mb} MB)"
    elif base.exit_code:
        reason = f": {base.reason}" if base.reason else ""
        yield f"`{command}` ends with exit code {base.exit_code} on the base already{reason}"
