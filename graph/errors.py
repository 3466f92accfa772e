"""Errors of threads and runs that a person must fix.

Messages state the fact. The command line and the HTTP side add their own advice to each type.
"""


class RunnerError(Exception):
    """The thread does not allow the request. The message names the cause and the alternative."""


class InputError(RunnerError):
    """The input is unusable. Nothing was stored."""


class BudgetNotRaised(RunnerError):
    """The run has spent its budget, so it can go on only with a larger one."""


class UnknownThread(RunnerError):
    """The thread does not exist."""


class UnknownRun(UnknownThread):
    """The run does not exist, or is not one of the thread."""


class UnknownCheckpoint(UnknownThread):
    """The checkpoint does not exist on the thread."""


class UnknownApproval(RunnerError):
    """No question with this id waits for an answer."""


class AnsweredApproval(RunnerError):
    """The question was answered before, maybe by another client."""
