"""What a person must mend, of threads and runs; the server gives each kind its status."""


class RunnerError(Exception):
    """A thread cannot do what was asked of it: what, why, and what to do instead."""


class InputError(RunnerError):
    """What was given cannot be used; nothing was written."""


class UnknownThread(RunnerError):
    """There is no such thread, run or checkpoint."""


class UnknownApproval(RunnerError):
    """Nothing waits for an answer under this id."""


class AnsweredApproval(RunnerError):
    """Somebody else was quicker: the question has its answer."""
