"""Proofs: the suite on base and change, compared case by case."""

import asyncio
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from nodes.check.change import CheckedChange
from nodes.check.dependent import settled
from nodes.check.execution.evidence import Evidence
from nodes.check.execution.executor import CheckCache, Executor, open_executor
from nodes.check.execution.origins import changed_modules, foreign_imports
from nodes.check.execution.package_sandboxes import PackageSandboxes
from nodes.check.execution.suite_runs import SuiteRuns
from nodes.check.exit_code.exit_code_check import check_by_exit_code
from nodes.check.joined import joined
from nodes.check.judge import judge
from nodes.check.mutation.trial import try_mutants
from nodes.check.outcomes import Outcomes, list_cases
from nodes.check.suites.reach import MOST_DEPENDENTS, Reach
from nodes.check.unrun.gaps import UnrunTests
from nodes.event_parts import Payload
from nodes.proof import Proof
from nodes.publish import Publish
from sandbox.base import Limits, Sandbox
from sandbox.environment.environment_sandbox import EnvironmentSandbox
from tools.workspace import Workspace

SUITE_SECONDS = 300.0
"""Time limit of a suite on the base, where nobody says another one."""

_MOST_NAMED = 8

_UNREACHED = "no test file imports what the change touches, and only affected tests run: {reason}"
_DEFINED = (
    "not verified: the change edits {path}, which says what the test command runs ({command}); "
    "look at the diff, then take it with `autocode apply`"
)
_LEFT_OUT = (
    "{names} did not run, though they depend on what the change edits, as {most} such packages run at most"
)
_UNREAD = "{names} did not run, and their declarations cannot be read, so they may depend on the change"
_RUN_ALL = "a `command` under [test] in .autocode.toml at the root can run all"
_ELSEWHERE = (
    "not verified: what ran is not the change; install the project editable, with `-e .` in `setup` under "
    "[environment] in .autocode.toml, or leave it out there"
)
_IRREVOCABLE = "not verified: the base's tests cannot run on the change ({reason})"


async def prove(
    workspace: Workspace,
    packages: Sequence[PackageSandboxes],
    base: str,
    head: str,
    *,
    limits: Limits,
    seconds: float | None = None,
    cache: CheckCache,
    notify: Callable[[str, Mapping[str, Any]], None],
    untestable: str = "",
) -> Proof:
    """Run the suite on the snapshots `base` and `head`, or that of each package, and return the proof.

    `packages` are those that the change concerns. `limits` are those of each program. `seconds` limits a
    whole suite on the base where `.autocode.toml` does not. `notify` receives the type and data of each
    event. `untestable` is the tester's reason for no new test.
    Raises NoSuite if the repository does not say how its tests run, and SandboxError if they cannot run.
    """

    def publish(payload: Payload) -> None:
        notify(payload.type, payload.model_dump())

    folders = [package.folder for package in packages if package.folder]
    changes = [await asyncio.to_thread(_read, workspace.path, each, base, head, folders) for each in packages]
    edited = [change for change, package in zip(changes, packages, strict=True) if not package.is_dependent]
    watched = frozenset(name for change in edited for name in changed_modules(change))
    parts = [
        await _part(workspace.path, package, change, watched, limits, seconds, cache, publish)
        for package, change in zip(packages, changes, strict=True)
    ]
    fields = joined(parts)
    if rest := await asyncio.to_thread(_left_out, workspace, base, head, packages):
        reasons = filter(None, (fields.get("scope_reason"), rest))
        fields |= {"scope": "affected", "scope_reason": "; ".join(reasons)}
    return Proof(base=base, head=head, tree=workspace.tree(head), untestable=untestable, **fields)


def _read(
    path: Path, package: PackageSandboxes, base: str, head: str, folders: Sequence[str]
) -> CheckedChange:
    """Return the change as a package sees it. `folders` are those that run by themselves. Blocks."""
    change = CheckedChange.read(path, base, head, package.folder, package.is_dependent)
    suite = change.suite
    if package.is_dependent and not package.folder and suite.is_pytest:
        others = (f"--ignore={folder}" for folder in folders)
        return replace(change, suite=replace(suite, command=(*suite.command, *others)))
    return change


def _left_out(workspace: Workspace, base: str, head: str, packages: Sequence[PackageSandboxes]) -> str:
    """Return the sentence about packages that did not run, though they may use the changed ones. Blocks."""
    reach = Reach.of(workspace, base, head)
    sentences = []
    for text, folders in ((_LEFT_OUT, reach.left_out), (_UNREAD, reach.unread)):
        if folders:
            names = list_cases([folder or "the root" for folder in folders], _MOST_NAMED)
            sentences.append(text.format(names=names, most=MOST_DEPENDENTS))
    return "; ".join([*sentences, _RUN_ALL] if sentences else [])


async def _part(
    path: Path,
    package: PackageSandboxes,
    change: CheckedChange,
    watched: frozenset[str],
    limits: Limits,
    seconds: float | None,
    cache: CheckCache,
    publish: Publish,
) -> dict[str, Any]:
    """Return the parts of the proof that one package gives."""
    by_grade = _by_tests if change.suite.grade == "tests" else check_by_exit_code
    program_seconds, limits = limits.seconds, suite_limits(change, limits, seconds, package.base)
    async with AsyncExitStack() as stack:
        sides = [
            await stack.enter_async_context(open_executor(change, path, sandbox, limits, cache, publish))
            # Both sides share one sandbox, and so one unpacked tree, unless their environments differ.
            for sandbox in dict.fromkeys((package.change, package.base))
        ]
        executor = replace(
            sides[0],
            on_base=sides[1] if len(sides) == 2 else None,
            has_environment=bool(package.environments),
            watched=watched if package.is_dependent else frozenset(),
        )
        result = await by_grade(executor, change, program_seconds)
    part = result | {
        "folder": package.folder,
        "is_dependent": package.is_dependent,
        "grade": change.suite.grade,
        "backend": executor.sandbox.name,
        "image": executor.image,
        "environments": list(package.environments),
        "missing_environment": package.missing,
        "suspicious": list(change.suspicious),
        "gaps": [*_definition_gaps(change), *result.get("gaps", ())],
    }
    elsewhere = part.pop("elsewhere", "")
    if package.is_dependent:
        part = settled(part, elsewhere)
    elif elsewhere:
        part["problems"], part["gaps"] = [elsewhere, *part["problems"]], [_ELSEWHERE, *part["gaps"]]
    return part | {"green": not part["problems"]}


def suite_limits(change: CheckedChange, limits: Limits, seconds: float | None, sandbox: Sandbox) -> Limits:
    """Return the limits of a whole suite on the base, with what its environment asks for."""
    if isinstance(sandbox, EnvironmentSandbox):
        limits = replace(sandbox.limits(limits), workspace_mb=limits.workspace_mb)
    limits = limits.with_room_for(change.size, change.file_count)
    return replace(limits, seconds=change.suite.seconds or seconds or SUITE_SECONDS)


async def _by_tests(executor: Executor, change: CheckedChange, program_seconds: float) -> dict[str, Any]:
    """Judge by cases. Green if no case counts against the change and the report can be believed."""
    began = time.monotonic()
    attempt, evidence = await SuiteRuns(executor, change, program_seconds).run()
    judgement = judge(evidence, attempt.limits)
    unreached = [] if attempt.head_command else [_UNREACHED.format(reason=attempt.scope_reason)]
    unrun = await asyncio.to_thread(_unrun, executor, change, evidence)
    elsewhere = foreign_imports(evidence.listing)
    judged = (
        vars(judgement)
        | unrun
        | {
            "command": list(attempt.head_command if change.suite.is_pytest else change.suite.command),
            "exit_code": evidence.head.exit_code,
            "baseline": "known" if evidence.base.known else "unknown",
            "baseline_reason": baseline_reason(evidence.base, executor.limits),
            "scope": attempt.scope,
            "scope_reason": attempt.scope_reason,
            "problems": unreached + judgement.problems,
            "elsewhere": elsewhere,
            "base_passed": any(case.base == "passed" for case in judgement.cases),
        }
    )
    if judged["problems"] or elsewhere:
        return judged
    seconds = time.monotonic() - began
    tried = await try_mutants(
        executor,
        change,
        attempt.suite,
        evidence.head,
        seconds,
        judgement.cases,
        evidence.new_on_base,
        evidence.unsteady,
        judgement.vacuous,
    )
    return judged | tried.fields(judgement.cases, judgement.vacuous)


def _unrun(executor: Executor, change: CheckedChange, evidence: Evidence) -> dict[str, Any]:
    """Return the test modules that do not run, and what remains unverified for that. Blocks."""
    unrun = UnrunTests(executor.workspace(), change, evidence.base, evidence.head_outcomes)
    return {"uncollected": unrun.modules, "gaps": unrun.gaps()}


def baseline_reason(base: Outcomes, limits: Limits) -> str:
    """Return why the base's cases are unknown."""
    if base.known:
        return ""
    if base.stopped == "timed out":
        return f"the tests of the base did not end within {limits.seconds:g} s"
    if base.stopped == "out of memory":
        return f"the tests of the base did not fit into {limits.memory_mb} MB of memory"
    where = f"{base.file}: " if base.file else ""
    what = (
        f"were killed, exit code {base.exit_code}"
        if base.stopped
        else f"ended with exit code {base.exit_code}"
    )
    return f"the tests of the base {what}" + (f" ({where}{base.reason})" if base.reason else "")


def _definition_gaps(change: CheckedChange) -> list[str]:
    """Return why a changed definition of the test command proves nothing."""
    command = "pytest" if change.suite.is_pytest else shlex.join(change.suite.command)
    return [_DEFINED.format(path=path, command=command) for path in change.definition] + (
        [_IRREVOCABLE.format(reason=change.irrevocable)] if change.irrevocable else []
    )
