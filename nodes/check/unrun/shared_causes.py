"""Causes of a red check that the base shows as well, so that no repair of the change cures them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from nodes.check.outcomes import Outcomes
from nodes.check.unrun.causes import Cause, cause_of, shorten
from nodes.proof import FAILED
from sandbox.base import Limits, Result

_PROVIDE = "make it available in the sandbox (SANDBOX_IMAGE names another image), then run the task again"
MORE_MEMORY = "`memory_mb` under [environment] in .autocode.toml, or SANDBOX_MEMORY_MB, gives it more"
_TIME = "a higher `timeout` under [test] in .autocode.toml gives the suite more time"


@dataclass(frozen=True)
class ChangedFiles:
    """The files of a change. `own_modules` are the top-level modules of the repository."""

    changed: frozenset[str] = frozenset()
    own_modules: frozenset[str] = frozenset()

    @classmethod
    def of(cls, changed: Iterable[str], files: Collection[str]) -> "ChangedFiles":
        """Find the modules among the repository's `files`."""
        own = set[str]()
        for path in (path for path in files if path.endswith(".py")):
            own.update(part.removesuffix(".py") for part in path.split("/", 2)[:2])  # also below `src`
            while f"{path.rpartition('/')[0]}/__init__.py" in files:
                path = path.rpartition("/")[0]
            own.add(path.rpartition("/")[2].removesuffix(".py"))
        return cls(frozenset(changed), frozenset(own))


def shared_cause(
    base: Outcomes, head: Outcomes, result: Result, limits: Limits, change: ChangedFiles, blamed: set[str]
) -> str:
    """Return the sentence that names the cause and what to do next, empty if the change may be the cause.

    `result` is the execution that `head` describes, `blamed` the cases that count against the change.
    """
    own = change.own_modules
    if base.stopped or head.stopped:
        return _stopped(head, limits) if base.stopped == head.stopped else ""
    if not head.known:
        same = not base.known and (base.exit_code, base.reason) == (head.exit_code, head.reason)
        return _no_start(head) if same and head.reason and not _is_own(head.reason, own) else ""
    if head.faults and all(case.startswith("::") for case in head.cases or {}):
        # A test may wait for what the change is to add, so only a module from elsewhere is surely missing.
        same = all(base.faults.get(module) == reason for module, reason in head.faults.items())
        foreign = all(Cause(reason).missing and not _is_own(reason, own) for reason in head.faults.values())
        return _nothing_collected(head.faults) if same and foreign else ""
    return _lacking_module(base, result, change, blamed)


def _is_own(reason: str, own: Collection[str]) -> bool:
    """Return whether an import fails for something that belongs to the repository."""
    name = Cause(reason).missing
    return name in own if name else "cannot import name" in reason


def _stopped(head: Outcomes, limits: Limits) -> str:
    if head.stopped == "timed out":
        return f"the suite does not end within {limits.seconds:g} s, on the base either; {_TIME}"
    if head.stopped == "out of memory":
        return (
            f"the suite does not fit into {limits.memory_mb} MB of memory, on the base either; {MORE_MEMORY}"
        )
    return "the suite is killed by a signal, on the base either"


def _no_start(head: Outcomes) -> str:
    where = f"{head.file}: " if head.file else ""
    cause = Cause(head.reason)
    what_next = _PROVIDE if cause.missing else "start it by hand to see why"
    return f"the suite cannot start here, on the base either: {where}{shorten(head.reason)}; {what_next}"


def _nothing_collected(faults: Mapping[str, str]) -> str:
    module, reason = min(faults.items())
    name = module.removeprefix("::")
    return f"no test can be collected here, on the base either: {name}: {shorten(reason)}; {_PROVIDE}"


def _lacking_module(base: Outcomes, result: Result, change: ChangedFiles, blamed: set[str]) -> str:
    """Return a sentence if every blamed case fails for a module that the base's files need and lack."""
    lacking = {Cause(reason).missing for reason in base.faults.values()} - {""}
    names: dict[str, str] = {}
    for case in result.report or ():
        if case.id in blamed and case.outcome in FAILED:
            cause = cause_of(case.message)
            foreign = cause.file.endswith(".py") and cause.file not in change.changed
            known = cause.missing in lacking or foreign
            if not cause.missing or cause.missing in change.own_modules or not known:
                return ""
            names.setdefault(cause.missing, case.id.removeprefix("::"))
    if not blamed or not names:
        return ""
    module, case_id = min(names.items())
    return (
        f"{case_id} cannot run here: no module named '{module}', which the base needs and lacks as well; "
        f"{_PROVIDE}"
    )
