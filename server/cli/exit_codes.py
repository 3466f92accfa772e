"""Exit codes, and which errors lead to them: the one place where an exception becomes a status."""

from enum import IntEnum


class Exit(IntEnum):
    """What `autocode` leaves with; a stop by Ctrl-C counts as not verified."""

    VERIFIED = 0
    UNVERIFIED = 1
    USAGE = 2
    WAITING = 3
    BUDGET = 4
    ENVIRONMENT = 5
    INTERNAL = 6


class Usage(Exception):
    """What was typed cannot be done: what, and what can be typed instead."""


class Unready(Exception):
    """What this machine must be made ready for: what is in the way, and the cure."""


STATUSES = {
    "verified": Exit.VERIFIED,
    "unverified": Exit.UNVERIFIED,
    "cancelled": Exit.UNVERIFIED,
    "waiting": Exit.WAITING,
    "budget": Exit.BUDGET,
    "failed": Exit.INTERNAL,
}

ERRORS = {
    "server.Usage": Exit.USAGE,
    "server.Unready": Exit.ENVIRONMENT,
    "graph.RunnerError": Exit.USAGE,
    "tools.WorkspaceError": Exit.USAGE,
    "memory.ThreadBusy": Exit.USAGE,
    "memory.BudgetSpent": Exit.BUDGET,
    "memory.JournalError": Exit.ENVIRONMENT,
    "memory.RepoIndexError": Exit.ENVIRONMENT,
    "nodes.ModelError": Exit.ENVIRONMENT,
    "nodes.NoSuite": Exit.ENVIRONMENT,
    "sandbox.SandboxError": Exit.ENVIRONMENT,
}
"""By folder and name, so that nothing heavy is imported to compare with."""


def exit_of(error: BaseException) -> Exit:
    """Return the code for an error; one that nobody foresaw is internal."""
    names = (f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((ERRORS[name] for name in names if name in ERRORS), Exit.INTERNAL)
