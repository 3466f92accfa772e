"""Errors of threads and runs that a person must fix. The server gives each type its status."""


class RunnerError(Exception):
    """The thread does not allow the request. The message names the cause and the alternative."""


class InputError(RunnerError):
    """The input is unusable. Nothing was stored."""


class UnknownThread(RunnerError):
    """The thread, run or checkpoint does not exist."""


class UnknownApproval(RunnerError):
    """No question with this id waits for an answer."""


class AnsweredApproval(RunnerError):
    """The question was answered before, maybe by another client."""
