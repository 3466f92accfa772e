"""Exit codes of `autocode`, and the errors that lead to them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command. A run that Ctrl-C stops is UNVERIFIED."""

    VERIFIED = 0
    UNVERIFIED = 1
    USAGE = 2
    WAITING = 3
    BUDGET = 4
    ENVIRONMENT = 5
    INTERNAL = 6


class UsageError(Exception):
    """The command cannot be carried out as typed. The message says what to type instead."""


class SetupError(Exception):
    """The machine is not ready for the command. The message says what to do about it."""


STATUSES = {
    "verified": ExitCode.VERIFIED,
    "answered": ExitCode.VERIFIED,
    "unverified": ExitCode.UNVERIFIED,
    "cancelled": ExitCode.UNVERIFIED,
    "waiting": ExitCode.WAITING,
    "budget": ExitCode.BUDGET,
    "failed": ExitCode.INTERNAL,
}
"""Exit codes by the status of a finished run."""

# Folder and name instead of the class: importing the classes here would make every `--help` slow.
ERRORS = {
    "server.UsageError": ExitCode.USAGE,
    "server.SetupError": ExitCode.ENVIRONMENT,
    "graph.RunnerError": ExitCode.USAGE,
    "tools.WorkspaceError": ExitCode.USAGE,
    "tools.GitMissing": ExitCode.ENVIRONMENT,
    "tools.RemoteError": ExitCode.USAGE,
    "tools.HostingError": ExitCode.USAGE,
    "_pygit2.GitError": ExitCode.USAGE,
    "memory.ThreadBusy": ExitCode.USAGE,
    "memory.BudgetSpent": ExitCode.BUDGET,
    "memory.JournalError": ExitCode.ENVIRONMENT,
    "memory.RepoIndexError": ExitCode.ENVIRONMENT,
    "nodes.ModelError": ExitCode.ENVIRONMENT,
    "nodes.NoSuite": ExitCode.ENVIRONMENT,
    "sandbox.SandboxError": ExitCode.ENVIRONMENT,
}
"""Exit codes by top-level folder and class name of an error. Subclasses share the code of their base."""


ADVICE = {
    "graph.BudgetNotRaised": "`--budget`, `--max-tokens` and `--max-seconds` give it more",
    "graph.UnknownThread": "`autocode threads` lists the threads",
    "graph.UnknownCheckpoint": "`autocode fork THREAD --list` lists the checkpoints",
    "memory.RunUnfinished": "resume or cancel it first",
    "tools.NotARepository": "--init makes it one",
    "_pygit2.GitError": "the repository may be damaged: `git fsck` shows where",
}
"""Advice for the terminal, by folder and class name. Messages of the lower folders state only the fact."""


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code for an error. Errors that are not in `ERRORS` are internal."""
    return next((ERRORS[name] for name in _names(error) if name in ERRORS), ExitCode.INTERNAL)


def message_of(error: BaseException) -> str:
    """Return the error's message, with advice on what to type if there is any."""
    advice = next((ADVICE[name] for name in _names(error) if name in ADVICE), "")
    return f"{error}; {advice}" if advice else str(error)


def _names(error: BaseException) -> list[str]:
    return [f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}" for kind in type(error).__mro__]
