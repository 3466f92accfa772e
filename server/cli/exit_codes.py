"""Exit codes, and which errors lead to them: the one place where an exception becomes a status."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What `autocode` leaves with; a stop by Ctrl-C counts as not verified."""

    VERIFIED = 0
    UNVERIFIED = 1
    USAGE = 2
    WAITING = 3
    BUDGET = 4
    ENVIRONMENT = 5
    INTERNAL = 6


class UsageError(Exception):
    """What was typed cannot be done: what, and what can be typed instead."""


class SetupError(Exception):
    """What this machine must be made ready for: what is in the way, and the cure."""


STATUSES = {
    "verified": ExitCode.VERIFIED,
    "unverified": ExitCode.UNVERIFIED,
    "cancelled": ExitCode.UNVERIFIED,
    "waiting": ExitCode.WAITING,
    "budget": ExitCode.BUDGET,
    "failed": ExitCode.INTERNAL,
}

ERRORS = {
    "server.UsageError": ExitCode.USAGE,
    "server.SetupError": ExitCode.ENVIRONMENT,
    "graph.RunnerError": ExitCode.USAGE,
    "tools.WorkspaceError": ExitCode.USAGE,
    "memory.ThreadBusy": ExitCode.USAGE,
    "memory.BudgetSpent": ExitCode.BUDGET,
    "memory.JournalError": ExitCode.ENVIRONMENT,
    "memory.RepoIndexError": ExitCode.ENVIRONMENT,
    "nodes.ModelError": ExitCode.ENVIRONMENT,
    "nodes.NoSuite": ExitCode.ENVIRONMENT,
    "sandbox.SandboxError": ExitCode.ENVIRONMENT,
}
"""By folder and name, so that nothing heavy is imported to compare with."""


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the code for an error; one that nobody foresaw is internal."""
    names = (f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((ERRORS[name] for name in names if name in ERRORS), ExitCode.INTERNAL)
