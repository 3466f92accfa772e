"""The check of a suite that is judged by its command's exit code."""

import shlex
import time
from dataclasses import replace
from typing import Any

from nodes.check.base_tests.old_tests import OLD_RUN
from nodes.check.change import CheckedChange
from nodes.check.execution.executor import Executor, change_limits, task_group
from nodes.check.judge import output_of, stop_reason
from nodes.check.mutation.trial import MutationResult, try_mutants
from nodes.check.outcomes import Outcomes
from nodes.check.output_text import normalise
from nodes.check.unrun.causes import is_missing_program
from nodes.proof import Failure
from sandbox.base import Result


async def check_by_exit_code(
    executor: Executor, change: CheckedChange, program_seconds: float
) -> dict[str, Any]:
    """Return the parts of a proof. Green if the command succeeds on the change, whatever the base did."""
    began = time.monotonic()
    command = change.suite.whole()
    base = await executor.cached(change.base_tree, command)
    base = base or await executor.run_base(change.base, change.base_tree, command)
    executor = replace(executor, limits=change_limits(executor.limits, program_seconds, base))
    old_tests = change.head_with_old_tests
    executor.sandbox.prepare(1 + (old_tests is not None))
    async with task_group() as group:
        running = group.create_task(executor.run("the change", change.head, command, publish_output=True))
        old = group.create_task(executor.run(OLD_RUN, old_tests or "", command if old_tests else ()))
    result = running.result()
    again = old_tests and base.exit_code == 0 and not base.stopped
    name = shlex.join(command)
    fails = result.exit_code != 0 or bool(stop_reason(result, executor.limits))
    weakened = again and not fails and await _fails_again(executor, change, old.result())
    base_shows_it = fails and _shows(base, result)
    problems = [_problem(executor, name, base, result, base_shows_it)] if fails else []
    problems += [f"the test file {path} was deleted" for path in change.deleted]
    tried = MutationResult()
    if not problems:
        tried = await try_mutants(executor, change, change.suite, result, time.monotonic() - began)
    return {
        "command": list(command),
        "exit_code": result.exit_code,
        "baseline": "unknown" if base.stopped else "known",
        "baseline_reason": f"`{name}` {base.stopped} on the base" if base.stopped else "",
        "problems": problems,
        "failures": [Failure(id=name, text=output_of(result))] if fails else [],
        "contradicted": [name] if weakened else [],
        "base_shows_it": base_shows_it and not change.deleted,
        "base_passed": base.exit_code == 0 and not base.stopped,
        "strength": tried.strength,
        "unguarded": tried.unguarded,
    }


async def _fails_again(executor: Executor, change: CheckedChange, old: Result) -> bool:
    """Return whether the base's tests fail on the change, twice, as they may fail by chance."""
    if old.exit_code == 0 and not old.timed_out:
        return False
    again = await executor.run(OLD_RUN, change.head_with_old_tests or "", change.suite.whole())
    return again.exit_code != 0 or again.timed_out


def _shows(base: Outcomes, result: Result) -> bool:
    """Return whether the command does not run on the base either."""
    head = Outcomes.of(result)
    if base.stopped or head.stopped:
        return base.stopped == head.stopped
    same = (base.exit_code, base.reason) == (head.exit_code, head.reason)
    return same and is_missing_program(f"{result.stdout}\n{result.stderr}", result.exit_code)


def _problem(executor: Executor, name: str, base: Outcomes, result: Result, base_shows_it: bool) -> str:
    after = stop_reason(result, executor.limits) or f"ended with exit code {result.exit_code}"
    if not base_shows_it:
        before = base.stopped or f"ended with exit code {base.exit_code}"
        return f"{name} {after} (on the base it {before})"
    if base.stopped == "timed out":
        advice = "a higher `timeout` under [test] in .autocode.toml gives it more time"
    else:
        advice = "provide what it needs in the sandbox, or write another command into .autocode.toml"
    reason = f": {base.reason}" if base.reason and not base.stopped else ""
    return normalise(f"{name} fails here, on the base either ({after}){reason}; {advice}")
